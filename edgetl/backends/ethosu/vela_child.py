"""Vela in a process of its own: it ends the process on a damaged model. Standard library and Vela only."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any


def compile_model(model: str, folder: str, arguments: list[str]) -> dict[str, Any]:
    """Compile a ``.tflite`` file as ``vela`` on the command line does.

    Args:
        folder: where Vela writes the compiled model and its tables.
        arguments: options of the command line.

    Returns:
        ``operators``: of the compiled model, in order, by builtin or custom name.

    Raises:
        RuntimeError: what Vela complains of.
    """
    from ethosu.vela import vela
    from ethosu.vela.errors import VelaError

    try:
        status = vela.main([*arguments, f"--output-dir={folder}", "--", model])
    except VelaError as error:
        raise RuntimeError(error.error_msg) from error
    finally:
        # the compiler core prints past Python
        sys.stdout.flush()
        ctypes.CDLL(None).fflush(None)
    if status:
        raise RuntimeError(f"Vela ended with status {status}")
    return {"operators": _operators(Path(folder) / f"{Path(model).stem}_vela.tflite")}


def _operators(compiled: Path) -> list[str]:
    from ethosu.vela.tflite.BuiltinOperator import BuiltinOperator
    from ethosu.vela.tflite.Model import Model

    names = {code: name for name, code in vars(BuiltinOperator).items() if not name.startswith("_")}
    model = Model.GetRootAsModel(compiled.read_bytes(), 0)
    found = []
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        for index in range(graph.OperatorsLength()):
            code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
            custom = code.CustomCode()
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            found.append(custom.decode() if custom else names.get(builtin, str(builtin)))
    return found


HANDLERS = {"compile": compile_model}
