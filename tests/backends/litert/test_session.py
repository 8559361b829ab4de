"""LiteRT's backend and session on the tiny network, beyond what every backend must do."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl import profiles
from edgetl.backends.base import EngineSpec
from edgetl.backends.litert import ENGINE, LiteRtBackend
from edgetl.backends.litert.session import left_over
from edgetl.engines import standing
from edgetl.errors import BackendError, InputError
from tests.backends.litert.networks import TARGET

SPEC = EngineSpec("litert", ENGINE, "int8", "f32", "CPU")


@pytest.fixture(scope="module")
def engines(
    tmp_path_factory: pytest.TempPathFactory, tiny: Any, calibration: Any, recipe: Any
) -> dict[str, Path]:
    backend, folder = LiteRtBackend(), tmp_path_factory.mktemp("litert")
    quantized = folder / "int8.onnx"
    backend.quantize(tiny.model, calibration, recipe, TARGET, [], quantized)
    made = {"onnx": quantized}
    for precision, model in (("f32", tiny.model), ("int8", quantized)):
        (folder / precision).mkdir()
        made[precision] = folder / precision / backend.build(model, TARGET, folder / precision)
    return made


def test_precision_counts_operators_with_weights(engines: dict[str, Path]) -> None:
    found = LiteRtBackend().load(engines["int8"], SPEC).precision()
    assert found.used == "int8" and found.layers == {"int8": 5}  # prefix, three convolutions, the head
    found = LiteRtBackend().load(engines["f32"], SPEC).precision()
    assert found.used == "f32" and found.layers == {"f32": 5}


def test_all_but_the_change_of_sign_is_xnnpacks(engines: dict[str, Path]) -> None:
    session: Any = LiteRtBackend().load(engines["int8"], SPEC)
    assert [operator["op_name"] for operator in left_over(session._operators)] == ["QUANTIZE"]
    assert session.notes == () and session.placement().share_of_nodes == 1.0


def test_what_xnnpack_leaves_is_noted() -> None:
    from edgetl.backends.litert.session import _notes

    def operator(index: int, name: str, source: int, result: int) -> dict[str, Any]:
        return {"index": index, "op_name": name, "inputs": [source], "outputs": [result]}

    parts = [("QUANTIZE", 0, 1), ("CONV_2D", 1, 2), ("HARD_SWISH", 2, 3), ("CONV_2D", 3, 4), ("ADD", 4, 5)]
    listed = [operator(index, *part) for index, part in enumerate(parts)]
    listed += [operator(5, "DELEGATE", 1, 2), operator(6, "DELEGATE", 3, 5)]
    assert [entry["op_name"] for entry in left_over(listed)] == ["QUANTIZE", "HARD_SWISH"]
    assert _notes(listed) == (
        "XNNPACK takes 3 of 5 operators; LiteRT's own kernels run 1 HARD_SWISH, 1 QUANTIZE",
    )


def test_answers_of_many_threads_are_those_of_one(engines: dict[str, Path], batch: np.ndarray) -> None:
    session = LiteRtBackend().load(engines["int8"], SPEC)
    expected = [session.run(image[None]) for image in batch]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: session.run(image[None]), list(batch) * 5))
    assert all(np.array_equal(one, expected[index % len(batch)]) for index, one in enumerate(found))


def test_an_onnx_is_converted_when_loaded(engines: dict[str, Path], batch: np.ndarray) -> None:
    """As the refit of the head does, so that features are those of the engine."""
    converted = LiteRtBackend().load(engines["onnx"], replace(SPEC, file="int8.onnx"), throughput=True)
    assert np.array_equal(converted.run(batch), LiteRtBackend().load(engines["int8"], SPEC).run(batch))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_line(engines: dict[str, Path], tmp_path: Path, share: float) -> None:
    data = engines["int8"].read_bytes()
    broken = tmp_path / ENGINE
    broken.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BackendError) as caught:
        LiteRtBackend().load(broken, SPEC)
    assert ENGINE in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [(replace(SPEC, device="GPU"), "no GPU"), (replace(SPEC, options={"delegate": "x"}), "'delegate'")],
)
def test_what_it_does_not_have_is_refused(engines: dict[str, Path], spec: EngineSpec, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        LiteRtBackend().load(engines["int8"], spec)


def test_integers_on_both_ends_are_no_engine_of_this_backend(
    engines: dict[str, Path], tmp_path: Path
) -> None:
    from edgetl.backends.litert.convert import convert

    (tmp_path / ENGINE).write_bytes(convert(engines["onnx"], ends="integers"))
    with pytest.raises(BackendError, match="int8"):
        LiteRtBackend().load(tmp_path / ENGINE, SPEC)


def test_other_precisions_are_refused(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="f16"):
        LiteRtBackend().build(tiny.model, TARGET.model_copy(update={"precision": "f16"}), tmp_path)


def board(name: str, model: str, isa: list[str]) -> dict[str, Any]:
    return {"cpu": {"isa": isa}, "board": model, "gpus": [], "machine": "aarch64"}


@pytest.mark.parametrize(
    ("name", "model", "isa", "measured"),
    [
        ("rpi5", "Raspberry Pi 5 Model B Rev 1.0", ["asimd", "dotprod"], True),
        ("rpi4", "Raspberry Pi 4 Model B Rev 1.4", ["asimd"], True),
        ("rpi4", "Raspberry Pi 5 Model B Rev 1.0", ["asimd", "dotprod"], False),
        ("rpi5", "Raspberry Pi 4 Model B Rev 1.4", ["asimd"], False),
        ("rpi5", "NVIDIA Jetson Orin Nano", ["asimd", "dotprod"], False),
    ],
)
def test_boards(
    name: str, model: str, isa: list[str], measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetl.engines.this_machine", lambda: "aarch64")
    found = standing(profiles.target(name), board(name, model, isa))
    assert found.latency is measured and found.loads


def test_nothing_is_printed_natively(engines: dict[str, Path]) -> None:
    """In a process of its own, since LiteRT greets once a process; what comes later is heard."""
    code = (
        "import sys; from pathlib import Path; from edgetl.backends import get_backend\n"
        "from edgetl.backends.base import EngineSpec\n"
        'get_backend("litert").load(Path(sys.argv[1]), EngineSpec("litert", "", "int8", "f32", "CPU"))\n'
        'print("heard", file=sys.stderr)'
    )
    line = [sys.executable, "-c", code, str(engines["int8"])]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "heard\n")
