"""The compiled model as a C array, for firmware that has no file system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetl.backends.ethosu.integer import End

_HEADER, _SOURCE = "model_vela.h", "model_vela.c"
_A_LINE = 24
_PLAIN = frozenset(range(0x20, 0x7F)) - set(b'"\\?')

_HEADER_TEXT = """\
/* {about} */
#ifndef EDGETL_MODEL_VELA_H
#define EDGETL_MODEL_VELA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* model_vela.tflite; 16-byte aligned, as the accelerator reads weights in it where it stands.
 * EDGETL_MODEL_PLACE places it, as in -DEDGETL_MODEL_PLACE='__attribute__((section("nn_model")))'. */
extern const uint8_t edgetl_model[{size}];
#define EDGETL_MODEL_SIZE ((size_t){size})

/* Input: int8 [{input_shape}], RGB, rows from top to bottom; each number is the pixel's (0 to 255) less 128.
 * Output: int8 [{output_shape}], one logit for each label, in the order of edgetl_model_labels.
 * An int8 number q stands for SCALE * (q - ZERO_POINT). */
#define EDGETL_MODEL_INPUT_SCALE {input_scale}
#define EDGETL_MODEL_INPUT_ZERO_POINT ({input_zero})
#define EDGETL_MODEL_OUTPUT_SCALE {output_scale}
#define EDGETL_MODEL_OUTPUT_ZERO_POINT ({output_zero})

#define EDGETL_MODEL_LABELS {count}
{labels}
#ifdef __cplusplus
}}
#endif

#endif
"""

_SOURCE_TEXT = """\
/* {about} */
#include "model_vela.h"

#ifndef EDGETL_MODEL_PLACE
#define EDGETL_MODEL_PLACE
#endif
{labels}
const uint8_t edgetl_model[{size}] __attribute__((aligned(16))) EDGETL_MODEL_PLACE = {{
{rows}
}};
"""


def write_firmware(
    folder: Path, engine: bytes, source: End, result: End, labels: Sequence[str], about: str
) -> None:
    """Write ``model_vela.h`` and ``model_vela.c``; the same arguments give the same bytes.

    Args:
        engine: bytes of the compiled ``.tflite``.
        source: the model's input, pixels less 128.
        result: its output.
        labels: of the classes, in the order of the output; none where the model names none.
        about: one line for the files' first comment: plain words, no ``*/``.
    """
    (folder / _HEADER).write_text(_header(len(engine), source, result, labels, about), encoding="ascii")
    rows = [
        "".join(f"{byte}," for byte in engine[start : start + _A_LINE])
        for start in range(0, len(engine), _A_LINE)
    ]
    names = "".join(f"    {c_string(label)},\n" for label in labels)
    table = f"\nconst char *const edgetl_model_labels[{len(labels)}] = {{\n{names}}};\n" if labels else ""
    text = _SOURCE_TEXT.format(about=about, labels=table, size=len(engine), rows="\n".join(rows))
    (folder / _SOURCE).write_text(text, encoding="ascii")


def _header(size: int, source: End, result: End, labels: Sequence[str], about: str) -> str:
    return _HEADER_TEXT.format(
        about=about,
        size=size,
        input_shape=_shape(source),
        output_shape=_shape(result),
        input_scale=_float(source.scale),
        input_zero=source.zero,
        output_scale=_float(result.scale),
        output_zero=result.zero,
        count=len(labels),
        labels=f"extern const char *const edgetl_model_labels[{len(labels)}];\n" if labels else "",
    )


def c_string(text: str) -> str:
    """A C string literal of the text's UTF-8 bytes; what is not plain ASCII is written in octal."""
    return (
        '"'
        + "".join(
            chr(byte) if byte in _PLAIN else f"\\{byte:03o}"
            for byte in text.encode("utf-8", "surrogateescape")
        )
        + '"'
    )


def _shape(end: End) -> str:
    return ", ".join(map(str, end.shape))


def _float(value: float) -> str:
    return f"{value:.9g}f" if any(mark in f"{value:.9g}" for mark in ".e") else f"{value:.9g}.0f"
