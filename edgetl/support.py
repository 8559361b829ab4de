"""Which targets can take a model: operator by operator, asked of the real parsers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl.backends import get_backend
from edgetl.backends.operators import every_node
from edgetl.backends.probing import any_contract
from edgetl.context import Context
from edgetl.contract.onnx_prefix import read_contract
from edgetl.errors import EdgetlError
from edgetl.exporting.foreign import open_graph
from edgetl.exporting.graph import opset, read
from edgetl.profiles import Target

if TYPE_CHECKING:
    import onnx

State = Literal["yes", "no", "unknown"]
_ASKED_OF = {"backend", "device", "build", "options", "precision", "float_precision"}
"""What of a target its parser's answer may depend on."""


@dataclass(frozen=True)
class Answer:
    """What a target's parser says of a model.

    Attributes:
        state: ``unknown`` where the parser is not here or there is none; never taken for ``no``.
        reasons: a line for each node that is refused, or why nothing is known.
    """

    target: str
    processor: str
    backend: str
    state: State
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """The answers of all targets asked.

    Attributes:
        operators: number of the model's nodes by operator, the most frequent first.
        refused: why edgetl builds no engine of it, whatever the parsers say of its operators.
    """

    model: str
    opset: int
    operators: Mapping[str, int]
    answers: tuple[Answer, ...]
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def survey(model: Path, targets: Sequence[Target], context: Context) -> Survey:
    """Ask each target's parser about a model; a question that several targets share is asked once.

    The parsers get it in the form in which edgetl would build it, one that edgetl refuses as it is.

    Raises:
        InputError: if the model can't be read.
    """
    graph = read(model)
    asked, refused = _as_it_is_built(context, model, graph)
    questions = {_question(target): target for target in targets}
    found: dict[str, tuple[State, tuple[str, ...]]] = {}
    with context.observer.stage(f"ask the parsers about {model.name}") as advance:
        for done, (question, target) in enumerate(questions.items(), 1):
            found[question] = _ask(asked, target)
            advance(done, len(questions))
    answers = [
        Answer(target.name, target.processor, target.backend, *found[_question(target)]) for target in targets
    ]
    return Survey(str(model), opset(graph), _operators(graph), tuple(answers), refused)


def _as_it_is_built(context: Context, path: Path, model: onnx.ModelProto) -> tuple[Path, str | None]:
    """The file that ``edgetl build`` would go on with, or the model itself and why it would not."""
    try:
        declared = None if read_contract(model) else any_contract(model)
        return open_graph(context, path, declared).path, None
    except EdgetlError as error:
        return path, str(error)


def _operators(graph: onnx.ModelProto) -> dict[str, int]:
    return dict(Counter(operator for operator, _ in every_node(graph)).most_common())


def _question(target: Target) -> str:
    return json.dumps(target.model_dump(mode="json", include=_ASKED_OF), sort_keys=True)


def _ask(model: Path, target: Target) -> tuple[State, tuple[str, ...]]:
    backend = get_backend(target.backend)
    try:
        refused = backend.supports(model, target)
    except EdgetlError as error:
        return "unknown", (str(error),)
    if refused is None:
        missing = backend.available().reason
        return "unknown", (missing or "its toolchain has no parser to ask, only a build tells",)
    return ("no" if refused else "yes"), tuple(refused)
