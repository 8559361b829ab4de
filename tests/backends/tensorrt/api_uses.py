"""Which attributes of TensorRT's objects a source file uses, by the names its variables have.

A variable that is annotated with a type of its own (``engine: Path``) is no TensorRT object; those are
``Any``, and known by their names only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

MODULE = ""
CLASSES = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "logger": "ILogger",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "tensor": "ITensor",
    "timing_cache": "ITimingCache",
    "trt": MODULE,
}
_ANY = ("Any", "Any | None")
Attribute = tuple[str, str]
"""Class (empty for the module) and attribute."""
Surface = Mapping[str, list[str]]


@dataclass(frozen=True)
class Use:
    """One use of an attribute.

    Attributes:
        where: file and line.
        attribute: what is used.
        guards: attributes that ``hasattr`` has found where this line runs.
    """

    where: str
    attribute: Attribute
    guards: frozenset[Attribute] = frozenset()


def attribute_uses(source: str, file: str) -> list[Use]:
    """All uses in a module; one that neither imports the binding nor names ``trt`` has none."""
    tree = ast.parse(source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    if not names & {"trt", "Binding", "load_binding"}:
        return []
    asked = frozenset(filter(None, map(_asked_for, ast.walk(tree))))
    found = _uses(tree, file, frozenset(), frozenset())
    return [
        replace(use, guards=use.guards | asked & {use.attribute, (MODULE, use.attribute[0])}) for use in found
    ]


def faults(uses: list[Use], surfaces: Mapping[str, Surface]) -> list[str]:
    """What some version lacks, one line each.

    An attribute must exist in every version in which what guards it exists, and in one version at least.
    """
    found = []
    for use in uses:
        lacking = [name for name, surface in surfaces.items() if not _has(surface, use.attribute)]
        unguarded = [name for name in lacking if all(_has(surfaces[name], guard) for guard in use.guards)]
        named = ".".join(filter(None, ("trt", *use.attribute)))
        if len(lacking) == len(surfaces):
            found.append(f"{use.where}: {named} is in no version of TensorRT")
        elif unguarded:
            found.append(f"{use.where}: {named} is not in {', '.join(unguarded)}")
    return found


def _has(surface: Surface, attribute: Attribute) -> bool:
    return attribute[1] in surface.get(attribute[0], ())


def _uses(node: ast.AST, file: str, others: frozenset[str], guards: frozenset[Attribute]) -> Iterator[Use]:
    """Uses at and below a node; ``others`` are names that stand for something else here."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        others = others | _typed_otherwise(node)
    if isinstance(node, ast.Attribute) and (owner := _owner(node.value, others)) is not None:
        yield Use(f"{file}:{node.lineno}", (owner, node.attr), guards)
    if isinstance(node, (ast.If, ast.IfExp)):
        certain = guards | _found_by(node.test)
        yield from _uses(node.test, file, others, certain)
        for part in node.body if isinstance(node, ast.If) else [node.body]:
            yield from _uses(part, file, others, certain)
        for part in node.orelse if isinstance(node, ast.If) else [node.orelse]:
            yield from _uses(part, file, others, guards)
        return
    for child in ast.iter_child_nodes(node):
        yield from _uses(child, file, others, guards)


def _typed_otherwise(scope: ast.AST) -> frozenset[str]:
    """Names that are annotated with another type than ``Any`` in a function."""
    annotated = [(node.arg, node.annotation) for node in ast.walk(scope) if isinstance(node, ast.arg)]
    annotated += [
        (node.target.id, node.annotation)
        for node in ast.walk(scope)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return frozenset(name for name, kind in annotated if kind is not None and ast.unparse(kind) not in _ANY)


def _owner(node: ast.expr, others: frozenset[str]) -> str | None:
    """Class of a TensorRT object or type, by what it is called; None for anything else."""
    if isinstance(node, ast.Name):
        return None if node.id in others else CLASSES.get(node.id)
    if isinstance(node, ast.Attribute):
        if node.attr == "trt":
            return MODULE
        if _owner(node.value, others) == MODULE:
            return node.attr
        if isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr.startswith("_"):
            return CLASSES.get(node.attr.removeprefix("_"))
    return None


def _asked_for(node: ast.AST) -> Attribute | None:
    """What ``hasattr(x, "name")`` asks for, of a TensorRT object or type."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr"):
        return None
    owner, name = _owner(node.args[0], frozenset()), node.args[1]
    return (owner, name.value) if owner is not None and isinstance(name, ast.Constant) else None


def _found_by(test: ast.expr) -> frozenset[Attribute]:
    """What is there if a test holds."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    return frozenset(filter(None, map(_asked_for, parts)))
