from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetl.backends import get_backend
from edgetl.backends.openvino.stable_names import stabilise_names
from edgetl.files import sha256_file


def test_building_again_in_one_process_gives_the_same_bytes(kits: Any, tmp_path: Path) -> None:
    kit = kits("openvino")
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        get_backend("openvino").build(kit.int8_model, kit.target, tmp_path / name)
        digests.add(tuple(sha256_file(tmp_path / name / file) for file in ("model.xml", "model.bin")))
    assert len(digests) == 1


def test_names_of_the_source_stay(tmp_path: Path) -> None:
    source, ir = tmp_path / "model.onnx", tmp_path / "model.xml"
    source.write_bytes(b"\x08\x01 Conv_7 and Add_12 \x00")
    ir.write_text(layers("Conv_7", "Constant_993", "Add_12", "Constant_993", "stem", "ShapeOf_4"))
    stabilise_names(ir, source)
    assert ir.read_text() == layers(
        "Conv_7", "Constant_auto0", "Add_12", "Constant_auto0", "stem", "ShapeOf_auto1"
    )


def layers(*names: str) -> str:
    return "".join(f'<layer id="1" name="{name}" type="Const"/>' for name in names)
