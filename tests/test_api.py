"""The verbs are functions, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import edgetl


def test_no_module_hides_a_verb() -> None:
    script = """
import importlib, pkgutil
import edgetl
for module in pkgutil.walk_packages(edgetl.__path__, "edgetl."):
    last = module.name.rpartition(".")[2]
    if last != "__main__" and not last.startswith("child"):  # a child's module runs in another environment
        importlib.import_module(module.name)
import types
print([name for name in edgetl.__all__ if isinstance(getattr(edgetl, name), types.ModuleType)])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_and_others_are_not() -> None:
    for name in edgetl.__all__:
        assert callable(getattr(edgetl, name)), name
    assert not hasattr(edgetl, "nonsense")
