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
from edgetl.errors import EdgetlError
from edgetl.exporting.graph import opset, read
from edgetl.profiles import Target
from edgetl.progress import Observer

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
    """

    model: str
    opset: int
    operators: Mapping[str, int]
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def survey(model: Path, targets: Sequence[Target], observer: Observer) -> Survey:
    """Ask each target's parser about a model; a question that several targets share is asked once.

    The model is taken as it is: with edgetl's prefix or without, float or quantized.

    Raises:
        InputError: if the model can't be read.
    """
    graph = read(model)
    questions = {_question(target): target for target in targets}
    found: dict[str, tuple[State, tuple[str, ...]]] = {}
    with observer.stage(f"ask the parsers about {model.name}") as advance:
        for done, (question, target) in enumerate(questions.items(), 1):
            found[question] = _ask(model, target)
            advance(done, len(questions))
    answers = [
        Answer(target.name, target.processor, target.backend, *found[_question(target)]) for target in targets
    ]
    return Survey(str(model), opset(graph), _operators(graph), tuple(answers))


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
