"""Forged bundles: changed by somebody who makes the digests fit. Importing this adds to the kinds of harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.forgery import Forger, cut, flip, kind, swap
from benchmarks.small_bundle import reader_of
from edgetl.bundle.manifest import NAME
from edgetl.bundle.write import GOLDEN_INPUT, GOLDEN_OUTPUT, TRAINED_ON
from edgetl.files import digest_of, sha256_file

LONG = "x" * 100_000
PATHS = (
    *("../outside/x", "/etc/passwd", "engine/../../outside/x", "..\\outside\\x", "C:\\x", "C:x", "//host/x"),
    *("", ".", "..", "./engine/x", "engine//x", "engine/", "a\0b", "a\nb", "engine/x\u202egnp.exe\x1b[2J"),
    *("\ud800", "a" * 300, "a/" * 2000 + "b", "engine/NUL:", "~/x\x7f", "file:///etc/passwd"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 10**30, 1e308, 0.5, [], {}, [[]], {"": {}}, LONG, "\n", "\x1b]0;x\x07", "\ud800", "1"),
    *(["a"] * 20_000, {"a": {"b": {"c": None}}}, -(2**63), "../outside/x"),
)
OPTIONS: tuple[tuple[str, Any], ...] = (
    *(
        ("CACHE_DIR", "../outside"),
        ("backend_path", "/tmp/evil.so"),
        ("session.x.path", "x"),
        ("NUM_STREAMS", 10**9),
    ),
    *(
        ("trt_extra_plugin_lib_paths", "/tmp/evil.so"),
        ("trt_dump_subgraphs", True),
        ("ep.context_file_path", "x"),
    ),
    *(
        ("session.collect_node_memory_stats_to_file", "x"),
        ("profiling_file_path", "x"),
        ("NPU_COMPILER", "x"),
    ),
    *(("session.model_external_initializers_file_folder_path", "/etc"), ("LOG_LEVEL", "LOG_DEBUG")),
    *(("allow_fallback", [1]), ("PERFORMANCE_HINT", {"a": 1}), ("session.disable_quant_qdq", "../x")),
)


@kind("always")
def _sealed_deep_nesting(it: Forger) -> None:
    deep: Any = "x"
    for _ in range(it.rng.choice((20, 200, 900))):
        deep = [deep] if it.rng.random() < 0.5 else {"a": deep}
    document = it.read()
    document[it.rng.choice(("provenance", "versions", "precision"))]["x"] = deep
    it.seal(document)


@kind("always")
def _sealed_path_that_leaves(it: Forger) -> None:
    document, name = it.read(), it.rng.choice(PATHS)
    engine = document["engine"]["file"]
    where = it.rng.choice(("files", "engine", "simulator", "renamed"))
    if where == "files":
        document["files"][name] = {"sha256": sha256_file(it.outside()), "bytes": it.outside().stat().st_size}
    elif where == "renamed":
        document["files"][name] = document["files"].pop(engine)
        document["engine"]["file"] = name
    elif where == "simulator":
        document["simulator"] = {**document["engine"], "file": name}
    else:
        document["engine"]["file"] = name
    it.seal(document)


@kind("always")
def _sealed_list_that_does_not_fit(it: Forger) -> None:
    document = it.read()
    files, name = document["files"], it.rng.choice(sorted(document["files"]))
    ways: tuple[Callable[[], Any], ...] = (
        lambda: files.pop(name),
        lambda: files.update({name.upper(): files.pop(name)}),
        lambda: files.update({"none": files[name]}),
        lambda: files.update({f"{number}": files[name] for number in range(5000)}),
        lambda: files.update({NAME: {"sha256": sha256_file(it.manifest), "bytes": 1}}),
        lambda: files[name].update(sha256=it.rng.choice((None, "", "0" * 64, 0, LONG))),
        lambda: files[name].update(bytes=it.rng.choice((None, -1, 1e3, "1", 10**18, True))),
        lambda: files[name].update(more="x"),
        files.clear,
    )
    it.rng.choice(ways)()
    it.seal(document)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a document."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


_TYPED = ("schema", "contract", "contract_fingerprint", "engine", "files", "labels", "created")


@kind("always")
def _sealed_wrong_type(it: Forger) -> None:
    document = it.read()
    *way, last = it.rng.choice([path for path in _places(document) if path[0] in _TYPED])
    place = document
    for key in way:
        place = place[key]
    former = place[last]
    place[last] = it.rng.choice([value for value in VALUES if type(value) is not type(former)])
    it.seal(document)


@kind("always")
def _sealed_field_too_many_or_too_few(it: Forger) -> None:
    document = it.read()
    table = it.rng.choice((document, document["contract"], document["engine"]))
    if it.rng.random() < 0.5:
        table[it.rng.choice(("x", "digests", "../x"))] = 1
    else:
        del table[it.rng.choice([key for key in table if key != "digest"])]
    it.seal(document)


@kind("always")
def _sealed_text_for_the_terminal(it: Forger) -> None:
    document = it.read()
    text = it.rng.choice(("\x1b[2J", "a\nb", "\x1b]8;;http://x\x07", "\ud800", LONG, "a\x00b", "a\u2028b"))
    where = it.rng.choice(("target", "labels", "device", "versions", "provenance", "created"))
    if where == "labels":
        document["labels"][0] = text
    elif where in ("versions", "provenance"):
        document[where]["x" if it.rng.random() < 0.5 else text] = text
    else:
        document[where] = text
    it.seal(document)


@kind("always")
def _sealed_labels(it: Forger) -> None:
    document = it.read()
    labels = document["labels"]
    choices: tuple[Any, ...] = ([], [labels[0]] * len(labels), ["", *labels[1:]], labels * 1000, labels[:-1])
    document["labels"] = it.rng.choice((*choices, [*labels, "more"], [1, 2, 3], "abc", {"a": 1}))
    it.seal(document)


@kind("always")
def _sealed_options(it: Forger) -> None:
    document = it.read()
    name, value = it.rng.choice((*OPTIONS, ("CACHE_DIR", str(it.outside("cache")))))
    if it.rng.random() < 0.3:
        document["simulator"] = {**document["engine"], "options": {name: value}}
    else:
        document["engine"]["options"] = {name: value}
    it.seal(document)


@kind("always")
def _sealed_threads(it: Forger) -> None:
    document = it.read()
    document["engine"]["threads"] = it.rng.choice((-1, 257, 10**5, 10**9, 2**62, 1.5, "1", True))
    it.seal(document)


@kind("always")
def _sealed_contract(it: Forger) -> None:
    """Absurd, with a right fingerprint."""
    document = it.read()
    field, value = it.rng.choice(
        (
            *(("height", 10**9), ("width", -1), ("height", 8192), ("width", 0), ("resize_to", 10**9)),
            *(("mean", [float("nan")] * 3), ("std", [0.0, 1.0, 1.0]), ("std", [float("inf")] * 3)),
            *(("mean", [1e300] * 4), ("background", 256), ("version", 2), ("interpolation", "x")),
            *(("resize", LONG), ("height", 32.7), ("height", "32"), ("mean", "abc"), ("mean", None)),
        )
    )
    document["contract"][field] = value
    document["contract_fingerprint"] = digest_of(document["contract"])
    it.seal(document)


def _npy(kind: str, shape: str, data: bytes, more: str = "") -> bytes:
    """An ``.npy`` file with any header."""
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + (len(padded) & 0xFFFF).to_bytes(2, "little") + padded + data


@kind("always")
def _sealed_golden_files(it: Forger) -> None:
    name, contract = it.rng.choice((GOLDEN_INPUT, GOLDEN_OUTPUT)), it.read()["contract"]
    size = f"{contract['height']}, {contract['width']}, 3"
    shapes = (f"(100000000, {size})", f"(-4, {size})", "(3,)", "()", "(0, 32, 32, 3)", "(" * 90 + ")" * 90)
    good, more = (it.bundle / name).read_bytes(), (b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04" * 50)
    forged = (
        *(_npy("'|u1'", shape, b"\0" * 4096) for shape in shapes),
        *(
            _npy("'|O'", "(4,)", b"cos\nsystem\n."),
            _npy("'|O'", "(4, 3)", good),
            _npy("'<f8'", "(4, 3)", good),
        ),
        *(
            _npy("'|u1'", "(4,)", b"\0" * 4, "'x': " + "-" * 9000 + "1"),
            _npy("[('a', '<f4')]", "(4, 3)", good),
        ),
        *(good[:9] + b"\xff" + good[10:], good[:6] + b"\x02\x00" + good[8:], good[:-1], good + b"\0", *more),
    )
    (it.bundle / name).write_bytes(it.rng.choice(forged))
    it.seal_files()


@kind("always")
def _sealed_list_of_training_images(it: Forger) -> None:
    forged = (
        b"\xff" * 65,
        b"x\n",
        b"a" * 64,
        b"A" * 64 + b"\n",
        b"\0" * 6500,
        b"a" * 10**6,
        b"a" * 64 + b"\r\n",
    )
    (it.bundle / TRAINED_ON).write_bytes(it.rng.choice(forged))
    it.seal_files()


@kind("engine")
def _sealed_backend_that_is_none(it: Forger) -> None:
    document = it.read()
    document["engine"]["backend"] = it.rng.choice(("", "os", "os:system", "../x", "edgetl.errors:InputError"))
    it.seal(document)


@kind("engine")
def _sealed_weights_outside(it: Forger) -> None:
    """An ONNX whose weights lie, by its word, in somebody's else file."""
    places = (str(it.outside()), "../../outside/x", "/etc/passwd", "/dev/zero", "../golden/input.npy")
    (it.bundle / "engine/model.onnx").write_bytes(reader_of(it.rng.choice(places)))
    document = it.read()
    document["engine"].update(file="engine/model.onnx", precision="f32")
    it.seal(document)
    it.seal_files()


@kind("engine")
def _sealed_truncated_engine(it: Forger) -> None:
    path = it.bundle / it.read()["engine"]["file"]
    data = path.read_bytes()
    path.write_bytes(data[: it.rng.randrange(len(data) * 9 // 10)])
    it.seal_files()


@kind("engine")
def _sealed_engine_of_another_kind(it: Forger) -> None:
    document = it.read()
    document["engine"]["file"] = it.rng.choice((GOLDEN_INPUT, TRAINED_ON, "sbom.json", "measurements.json"))
    it.seal(document)


@kind("engine")
def _sealed_backend_and_device_that_do_not_fit(it: Forger) -> None:
    document = it.read()
    backends = ("openvino", "onnxruntime", "litert", "ethosu", "tensorrt", "tensorrt-rtx", "rknn", "qnn")
    other = it.rng.choice([name for name in backends if name != document["engine"]["backend"]])
    device = it.rng.choice(("", "AUTO", "BATCH:CPU(100000)", "cuda:9", "../x", "TensorrtExecutionProvider"))
    document["engine"].update(backend=other, device=device)
    for name in ("layers.json", "build.json", "vela.json", "qnn.json", "made.json"):
        garbage = it.rng.choice(
            ("{}", "[]", '{"layers": 3}', '{"schema": "edgetl.layers/1", "layers": [{}]}')
        )
        (it.bundle / "engine" / name).write_text(garbage)
    if it.rng.random() < 0.5:
        path = it.bundle / document["engine"]["file"]
        path.write_bytes(it.rng.choice((b"ptrt", b"vtrt")) + path.read_bytes())
    it.seal(document)
    it.seal_files()


@kind("replay")
def _sealed_golden_output_of_another_model(it: Forger) -> None:
    path = it.bundle / GOLDEN_OUTPUT
    output = np.load(path)
    other = it.rng.choice((output + output.std(), output * np.nan, output * np.float32(np.inf), -output))
    np.save(path, other.astype(np.float32))
    it.seal_files()


@kind("maybe")
def _sealed_flipped_bit(it: Forger) -> None:
    flip(it.engine() if it.rng.random() < 0.7 else it.file(manifest=False), it.rng)
    it.seal_files()


@kind("maybe")
def _sealed_truncated_file(it: Forger) -> None:
    cut(it.file(manifest=False), it.rng)
    it.seal_files()


@kind("maybe")
def _sealed_swapped_files(it: Forger) -> None:
    swap(it.file(manifest=False), it.file(manifest=False))
    it.seal_files()


@kind("maybe")
def _sealed_other_labels(it: Forger) -> None:
    document = it.read()
    document["labels"] = it.rng.choice((["a", "b", "c"], ["é", "日本", "\u202ex"], document["labels"][::-1]))
    it.seal(document)
