"""From ONNX to a serialized engine, with what the builder said of it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.backends.tensorrt.binding import Binding
from edgetl.backends.tensorrt.failures import explain
from edgetl.backends.tensorrt.inspector import inspect_engine
from edgetl.backends.tensorrt.layers import LayerReport, parse_log
from edgetl.backends.tensorrt.log import Messages
from edgetl.backends.tensorrt.settings import BuildSettings
from edgetl.errors import BackendError
from edgetl.files import write_atomic

_MEBIBYTE = 1 << 20
_PEAK = re.compile(r"Peak memory usage of TRT CPU/GPU memory allocators: CPU (\d+) MiB, GPU (\d+) MiB")


@dataclass(frozen=True)
class Built:
    """A serialized engine.

    Attributes:
        engine: raw, as the vendor's own tools load it.
        layers: from the builder's own report; where a version logs none, from the engine's inspector.
        peak_mb: most memory the builder took on the CPU and on the GPU, MiB, as it says itself.
        seconds: of the build.
        warnings: what the builder warned of.
        network_layers: number of layers before TensorRT fused them.
        fallback: those of them that the deep-learning accelerator leaves to the GPU.
    """

    engine: bytes
    layers: LayerReport
    peak_mb: tuple[int, int] | None
    seconds: float
    warnings: tuple[str, ...]
    network_layers: int
    fallback: tuple[str, ...] = ()


def build_engine(binding: Binding, model: Path, settings: BuildSettings, cache: Path | None = None) -> Built:
    """Build the engine of an ONNX file.

    Args:
        cache: timing cache to use and to extend.

    Raises:
        BackendError: in one line, with the log line, the layer and a remedy, if TensorRT refuses.
    """
    trt = binding.trt
    with _failures(binding, model) as messages:
        builder = trt.Builder(binding.logger)
        network = builder.create_network(binding.strongly_typed_flag)
        config = builder.create_builder_config()
        _configure(binding, config, settings)
        _parse(binding, network, config, model)
        _fix_batch(builder, network, config, settings.batch)
        fallback = _fallback(network, config, settings)
        timing_cache = _use_timing_cache(config, cache)
        started = time.perf_counter()
        serialized = builder.build_serialized_network(network, config)
        seconds = time.perf_counter() - started
        if serialized is None:
            raise BackendError(explain(messages.errors))
        if cache is not None and timing_cache is not None:
            write_atomic(cache, bytes(memoryview(timing_cache.serialize())))
        report, data = messages.starting_with("Layers:"), bytes(memoryview(serialized))
        return Built(
            engine=data,
            layers=LayerReport(parse_log(report)) if report else inspect_engine(binding, data),
            peak_mb=_peak(messages),
            seconds=seconds,
            warnings=tuple(dict.fromkeys(" ".join(text.split()) for text in messages.warnings)),
            network_layers=network.num_layers,
            fallback=fallback,
        )


def supported(binding: Binding, model: Path) -> list[str]:
    """What the parser refuses, node by node, without building; empty if it takes the whole model.

    Raises:
        BackendError: if the file can't be parsed at all.
    """
    trt = binding.trt
    with _failures(binding, model) as messages:
        builder = trt.Builder(binding.logger)
        network = builder.create_network(binding.strongly_typed_flag)
        parser = trt.OnnxParser(network, binding.logger)
        if parser.supports_model_v2(model.read_bytes(), str(model)):
            return []
        return _parser_errors(parser) or messages.errors


@contextlib.contextmanager
def _failures(binding: Binding, model: Path) -> Iterator[Messages]:
    """Errors of TensorRT and its bindings as one line each."""
    with binding.recorder.listen() as messages:
        try:
            yield messages
        except BackendError as error:
            raise BackendError(f"{binding.backend} cannot build {model.name}: {error}") from error
        except (RuntimeError, TypeError, ValueError) as error:
            reason = explain(messages.errors or [str(error)])
            raise BackendError(f"{binding.backend} cannot build {model.name}: {reason}") from error


def _configure(binding: Binding, config: Any, settings: BuildSettings) -> None:
    trt = binding.trt
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: float32 of ten bits' precision
    if settings.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb * _MEBIBYTE)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    # 10.3 has no such limit; the workspace limit bounds its memory
    if settings.max_tactics is not None and hasattr(config, "max_num_tactics"):
        config.max_num_tactics = settings.max_tactics
    if settings.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = settings.dla_core
        if settings.gpu_fallback:
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if binding.ahead_of_time and hasattr(config, "num_compute_capabilities"):
        capabilities = _capabilities(trt, settings.compute_capabilities)
        config.num_compute_capabilities = len(capabilities)
        for index, capability in enumerate(capabilities):
            config.set_compute_capability(capability, index)


def _capabilities(trt: Any, names: Sequence[str]) -> list[Any]:
    if not hasattr(trt, "ComputeCapability"):
        return []
    known = {
        name: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")
    }
    wanted = [f"SM{name.replace('.', '')}" for name in names]
    if missing := [name for name in wanted if name not in known]:
        raise BackendError(
            f"it makes no engines for compute capability {missing[0].removeprefix('SM')}; "
            f"it knows {', '.join(name.removeprefix('SM') for name in known)}; "
            "other GPUs take their engines from full TensorRT, built on the device"
        )
    return [known[name] for name in wanted]


def _parse(binding: Binding, network: Any, config: Any, model: Path) -> None:
    trt = binding.trt
    parser = trt.OnnxParser(network, binding.logger)
    if hasattr(parser, "set_builder_config"):
        parser.set_builder_config(config)
    if not parser.parse(model.read_bytes(), str(model)):
        errors = _parser_errors(parser)
        raise BackendError(explain(errors))


def _parser_errors(parser: Any) -> list[str]:
    found = []
    for index in range(parser.num_errors):
        parser_error = parser.get_error(index)
        code = str(parser_error.code()).rpartition(".")[2]
        node, operator = parser_error.node_name(), parser_error.node_operator()
        found.append(
            f"{code}: {operator or 'model'} node {node or parser_error.node()!s}: {parser_error.desc()}"
        )
    return found


def _fix_batch(builder: Any, network: Any, config: Any, batch: int) -> None:
    """A profile for each input whose batch is dynamic: this batch and no other."""
    dynamic = [
        tensor
        for tensor in (network.get_input(index) for index in range(network.num_inputs))
        if any(size < 0 for size in tensor.shape)
    ]
    if not dynamic:
        return
    profile = builder.create_optimization_profile()
    for tensor in dynamic:
        shape = [batch if size < 0 and axis == 0 else size for axis, size in enumerate(tensor.shape)]
        if any(size < 0 for size in shape):
            raise BackendError(
                f"input {tensor.name} has a dynamic size besides its batch; fix it in the model"
            )
        profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)


def _fallback(network: Any, config: Any, settings: BuildSettings) -> tuple[str, ...]:
    """Layers the accelerator can't run, by TensorRT's own word."""
    if settings.dla_core is None:
        return ()
    layers = (network.get_layer(index) for index in range(network.num_layers))
    found = tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))
    if found and not settings.gpu_fallback:
        raise BackendError(
            f"DLA cannot run {len(found)} layers, {found[0]} among them; allow the GPU to take them with "
            "gpu_fallback = true in the target"
        )
    return found


def _use_timing_cache(config: Any, cache: Path | None) -> Any:
    if cache is None:
        return None
    timing_cache = config.create_timing_cache(cache.read_bytes() if cache.is_file() else b"")
    if not config.set_timing_cache(timing_cache, False):  # of another device or version: start anew
        timing_cache = config.create_timing_cache(b"")
        config.set_timing_cache(timing_cache, False)
    return timing_cache


def _peak(messages: Messages) -> tuple[int, int] | None:
    for _, text in reversed(messages.entries):
        if found := _PEAK.search(text):
            return int(found[1]), int(found[2])
    return None
