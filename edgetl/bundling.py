"""What goes into the bundle of an engine, recorded from the loaded engine itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgetl.backends import get_backend
from edgetl.backends.base import Precision, Session, UInt8
from edgetl.bundle.write import Content
from edgetl.context import Context
from edgetl.contract import Contract
from edgetl.engines import Engine

GOLDEN_IMAGES = 4


def content_of(
    context: Context,
    engine: Engine,
    contract: Contract,
    labels: tuple[str, ...],
    golden: UInt8,
    *,
    provenance: dict[str, Any],
    measurements: dict[str, Any],
    trained_on: Sequence[str] = (),
) -> Content:
    """A bundle's content; the engine is loaded to record its golden output and its precision.

    For an engine that can't be loaded here its simulator gives the golden output, and its builder the
    precision. The bundle names the simulator if that can give the output again from the portable model.
    """
    answering = engine.answering()
    replayed = answering is not engine and get_backend(engine.spec.backend).replays(engine.spec)
    if replayed and answering.folder == engine.portable.parent:
        # the portable model answers itself, as whoever verifies the bundle has no other
        answering = replace(answering, spec=replace(answering.spec, file=engine.portable.name))
    session = answering.open()
    outputs = np.concatenate([session.run(image[None]) for image in golden])
    return Content(
        target=engine.name,
        spec=engine.spec,
        engine=engine.folder,
        portable=engine.portable,
        contract=contract,
        labels=labels,
        precision=_precision(engine, session),
        simulator=answering.spec if replayed else None,
        device=context.machine,
        versions=context.versions(engine.spec.backend),
        provenance=provenance,
        golden_input=golden,
        golden_output=outputs,
        measurements=measurements,
        trained_on=trained_on,
    )


def _precision(engine: Engine, session: Session) -> dict[str, Any]:
    if engine.standing.loads:
        return session.precision().to_dict()
    proof = engine.proof
    if proof is None or proof.precision is None:
        return Precision(engine.spec.precision, "not built yet", engine.spec.float_precision, {}).to_dict()
    return proof.precision.to_dict()
