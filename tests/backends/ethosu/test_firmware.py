"""The C array: the engine's bytes, where and what its ends are, and a compiler's word that it is C."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgetl.backends.ethosu.firmware import c_string, write_firmware
from edgetl.backends.ethosu.integer import End

SOURCE, RESULT = End((1, 32, 32, 3), 0.0078125, -1), End((1, 3), 2.0, 7)
LABELS = ["rose", 'a "b" \\ ??/ */', "très\nfin"]
PROGRAM = """
#include "model_vela.h"
#include <stdio.h>
int main(void) {
  size_t i;
  for (i = 0; i < EDGETL_MODEL_SIZE; i++) printf("%02x", edgetl_model[i]);
  for (i = 0; i < EDGETL_MODEL_LABELS; i++) { putchar(10); fputs(edgetl_model_labels[i], stdout); }
  printf("|%d", (int)((uintptr_t)edgetl_model % 16));
  printf("|%g %d", (double)EDGETL_MODEL_OUTPUT_SCALE, EDGETL_MODEL_OUTPUT_ZERO_POINT);
  return 0;
}
"""
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def gcc(folder: Path, *arguments: str) -> str:
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@needs_gcc
def test_a_program_reads_back_the_engine_and_the_labels(tmp_path: Path) -> None:
    engine = bytes(range(256)) * 3 + b"\x00"
    write_firmware(tmp_path, engine, SOURCE, RESULT, LABELS, "for tests")
    (tmp_path / "main.c").write_text(PROGRAM)
    gcc(tmp_path, "main.c", "model_vela.c", "-o", "main")
    said = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode()
    assert said == "\n".join([engine.hex(), *LABELS]) + "|0|2 7"


@needs_gcc
def test_a_model_without_labels_compiles_and_may_be_placed(tmp_path: Path) -> None:
    write_firmware(tmp_path, b"\x01\x02", SOURCE, RESULT, [], "for tests")
    place = '-DEDGETL_MODEL_PLACE=__attribute__((section("nn_model")))'
    gcc(tmp_path, place, "-c", "model_vela.c")
    assert b"nn_model" in (tmp_path / "model_vela.o").read_bytes()


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_header_serves_c_plus_plus(tmp_path: Path) -> None:
    write_firmware(tmp_path, b"\x01", SOURCE, RESULT, LABELS, "for tests")
    (tmp_path / "main.cc").write_text('#include "model_vela.h"\nint main() { return edgetl_model[0] - 1; }\n')
    gcc(tmp_path, "-c", "model_vela.c")
    subprocess.run(
        ["g++", "-Wall", "-Werror", "main.cc", "model_vela.o", "-o", "main"], cwd=tmp_path, check=True
    )
    subprocess.run([tmp_path / "main"], check=True)


def test_the_header_tells_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    write_firmware(tmp_path, b"\x01", SOURCE, RESULT, LABELS, "for tests")
    header = (tmp_path / "model_vela.h").read_text()
    assert "Input: int8 [1, 32, 32, 3]" in header
    assert "Output: int8 [1, 3]" in header
    defined = dict(re.findall(r"#define (\w+) (.+)", header))
    assert defined["EDGETL_MODEL_INPUT_SCALE"] == "0.0078125f"
    assert defined["EDGETL_MODEL_INPUT_ZERO_POINT"] == "(-1)"
    assert defined["EDGETL_MODEL_OUTPUT_SCALE"] == "2.0f"


@pytest.mark.parametrize(
    ("text", "literal"),
    [("plain 1", '"plain 1"'), ('"', r'"\042"'), ("é1", r'"\303\2511"'), ("?", r'"\077"')],
)
def test_a_label_is_a_c_string(text: str, literal: str) -> None:
    assert c_string(text) == literal
