"""The whole story: images → frozen backbone, new head → ONNX → INT8 → engines → measurements → bundles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgetl import profiles
from edgetl.bundle.manifest import read_manifest
from edgetl.bundle.write import Content, write_bundle
from edgetl.bundling import GOLDEN_IMAGES, content_of
from edgetl.context import Context
from edgetl.contract import preprocess
from edgetl.data import load_dataset
from edgetl.deploy import Deployment, FloatModel, deploy
from edgetl.device.lock import measuring_alone
from edgetl.elsewhere import fitting, section_there, visit
from edgetl.engines import REFERENCE, Engine, best_target, build_engine, float_twin
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.exporting.stage import Exported, assemble, check_parity, compile_backbone
from edgetl.findings import Task, Wanted, engine_digest
from edgetl.measurement.accuracy import Predictions
from edgetl.measurement.stage import measure_accuracy, measure_speed, now
from edgetl.peaks import with_roofline
from edgetl.profiles import Recipe, Target
from edgetl.remote.devices import Device, device
from edgetl.results import (
    Budgets,
    Measured,
    Scene,
    document,
    engine_section,
    failed_section,
    float_section,
    relabelled,
    write_results,
)
from edgetl.transfer.backbones import DEFAULT, resolve
from edgetl.transfer.train import Trained, train
from edgetl.versions import versions

_BUNDLES = "bundles"
_NOT_IN_BUNDLES = ("latency_samples_ms", "changed", "mistakes", "error_analysis")


@dataclass(frozen=True)
class RunOptions:
    """What to run.

    Attributes:
        images: folder of class folders, or one with ``train/`` and ``val/`` (and ``test/``).
        targets: see ``profiles.targets_of``; empty means the one that describes this machine.
        weights: see ``transfer.backbones.resolve``.
        recipe: name of a calibration recipe; None takes each target's own.
        refit_head: fit the head again on the integer backbone's features.
        remeasure: take latencies anew even if the store has them.
        on: devices, by name or address, on which the engines of their kind are built and measured.
        seconds: how long each latency and throughput is taken, at least.
    """

    images: Path
    out: Path
    targets: tuple[str, ...] = ()
    backbone: str = DEFAULT
    weights: str | None = None
    recipe: str | None = None
    budgets: Budgets = field(default_factory=Budgets)
    refit_head: bool = True
    val_fraction: float = 0.2
    seed: int = 0
    remeasure: bool = False
    on: tuple[str, ...] = ()
    seconds: float = 2.0

    def __post_init__(self) -> None:
        _ = self.wanted  # seconds that can't be are refused before anything is done

    @property
    def wanted(self) -> Wanted:
        """What is measured of an engine on a device."""
        return Wanted(seconds=self.seconds)


def run(options: RunOptions, context: Context | None = None) -> dict[str, Any]:
    """Run the whole story and write bundles, ``results.json`` and ``report.html`` into ``options.out``.

    Returns:
        The results document.

    Raises:
        InputError: if the images, a target or an option are wrong.
        EdgetlError: if no engine could be made.
    """
    context = context or Context()
    targets = profiles.targets_of(options.targets or (best_target(context.environment),))
    recipes = [profiles.recipe(options.recipe or target.recipe) for target in targets]
    source = resolve(options.backbone, options.weights)
    devices = (
        fitting(context, targets, [device(name) for name in dict.fromkeys(options.on)]) if options.on else {}
    )

    with context.observer.stage("read images") as advance:
        dataset = load_dataset(
            options.images, val_fraction=options.val_fraction, seed=options.seed, progress=advance
        )
    require_writable(options.out)
    graph, contract = compile_backbone(context, source)
    trained, dataset = train(context, dataset, source, graph, contract, seed=options.seed)
    head = trained.fitted.head
    exported = assemble(context, graph, head, contract, trained.labels)
    parity = check_parity(context, exported, source, head, contract, dataset.held_out)

    model = FloatModel(dataset, trained, exported)
    made = [_deploy(context, model, *pair, options) for pair in zip(targets, recipes, strict=True)]
    deployments = [item for item in made if isinstance(item, Deployment)]
    references = _references(context, exported, deployments)
    measured = _measure(context, model, [*references, *(item.engine for item in deployments)], options)

    reference = next((measured[engine.name].predictions for engine in references), None)
    scene = Scene(dataset, contract, reference, options.budgets)
    results = document(
        scene,
        _environment(context, [*references, *(item.engine for item in deployments)]),
        train=_train_section(trained, options),
        export={**{key: exported.facts[key] for key in ("opset", "nodes")}, "parity": parity.to_dict()},
        fp32=float_section(scene, [measured[engine.name] for engine in references]),
        engines=[
            section
            for target, item in zip(targets, made, strict=True)
            for section in (
                _sections(context, options, scene, item, measured[item.target.name], trained, devices)
                if isinstance(item, Deployment)
                else [failed_section(target.name, target.backend, target.precision, item)]
            )
        ],
    )
    _note_former_bundles(context, results, options)
    _publish(context, results, options)
    if not deployments:
        raise EdgetlError(f"no engine could be made: {made[0]}")
    return results


def _deploy(
    context: Context, model: FloatModel, target: Target, recipe: Recipe, options: RunOptions
) -> Deployment | str:
    """A deployment, or the one-line error of a target that failed; the others go on."""
    try:
        return deploy(context, model, target, recipe, refit_head=options.refit_head, seed=options.seed)
    except (BackendError, InputError) as error:
        context.observer.note(f"{target.name}: {error}")
        return str(error)


def _references(context: Context, exported: Exported, deployments: Sequence[Deployment]) -> list[Engine]:
    """A float engine for each backend in use, in the order they are first used."""
    found = [float_twin(item.target, context.environment) for item in deployments]
    twins = {twin.name: twin for twin in reversed(found)}
    with context.observer.stage("build float references"):
        order = dict.fromkeys(twin.name for twin in found)
        return [build_engine(context, exported.path, twins[name]) for name in order]


def _measure(
    context: Context, model: FloatModel, engines: Sequence[Engine], options: RunOptions
) -> dict[str, Measured]:
    """Accuracy of each engine, then the speed of those that run here, side by side; one may fail alone.

    Where none of the targets' engines runs here, nobody wants the speed of the float references.
    """
    samples, contract = model.dataset.held_out, model.trained.contract
    predictions: dict[str, Predictions] = {}
    errors: dict[str, str] = {}
    for engine in engines:
        try:
            predictions[engine.name] = measure_accuracy(context, engine, samples, contract)
        except EdgetlError as error:
            errors[engine.name] = str(error)
    image = preprocess(samples[0].path, contract)
    alone = not any(engine.standing.loads for engine in engines if not engine.name.startswith(REFERENCE))
    running = [] if alone else [engine for engine in engines if engine.standing.loads]
    with measuring_alone(context.observer.note):
        timing, begun = options.wanted.options, now()
        speeds = measure_speed(context, running, image, timing, again=options.remeasure) if running else []
    by_name = dict(zip((engine.name for engine in running), speeds, strict=True))
    times = [speed.measured_at for speed in speeds if not isinstance(speed, str)]
    earlier = [time for time in times if time < begun]
    if earlier:
        context.observer.note(f"latencies are of {min(earlier)}, from the store; --remeasure takes them anew")
    measured = {}
    for engine in engines:
        speed = by_name.get(engine.name)
        found = None if isinstance(speed, str) else speed
        item = Measured(engine, predictions.get(engine.name), found, errors.get(engine.name))
        fault = speed if isinstance(speed, str) else item.wrong_precision()
        measured[engine.name] = replace(item, error=item.error or fault)
    return measured


def _sections(
    context: Context,
    options: RunOptions,
    scene: Scene,
    deployment: Deployment,
    item: Measured,
    trained: Trained,
    devices: Mapping[str, Sequence[Device]],
) -> list[dict[str, Any]]:
    """The entries of one target: what was found here, or in its place on each device of its kind."""
    found = _bundled(context, options, scene, deployment, item, trained)
    theirs = devices.get(deployment.target.name)
    engine = deployment.engine
    finished = partial(
        with_roofline, context, spec=engine.spec, target=deployment.target, model=engine.portable
    )
    if not theirs or found["error"]:
        return [finished(found)]
    bundle = options.out / found["bundle"]
    visits = visit(context, Task(bundle, scene.samples, options.wanted, deployment.target), theirs)
    kept = {name: found[name] for name in ("recipe", "refit", "error_analysis")}
    absent = failed_section(deployment.target.name, engine.spec.backend, engine.spec.precision, "")
    failed = {**absent, "bundle": found["bundle"], **kept}
    return [section_there(scene, each, failed, finished, **kept) for each in visits]


def _bundled(
    context: Context,
    options: RunOptions,
    scene: Scene,
    deployment: Deployment,
    item: Measured,
    trained: Trained,
) -> dict[str, Any]:
    """Write the bundle of one engine and return its entry in the results; without it, where that fails."""
    recipe, refit = deployment.recipe, deployment.refit
    bundle = Path(_BUNDLES) / deployment.target.name

    def section(item: Measured) -> dict[str, Any]:
        return engine_section(
            scene,
            item,
            bundle.as_posix() if item.error is None else None,
            recipe=recipe.name if recipe else None,
            refit=relabelled(refit.to_dict(), deployment.engine.standing.kind) if refit else None,
            error_analysis=deployment.errors,
        )

    found = section(item)
    if item.error is None:
        try:
            with context.observer.stage(f"bundle {deployment.target.name}"):
                write_bundle(_content(context, scene, deployment, trained, found), options.out / bundle)
            found["digest"] = engine_digest(read_manifest(options.out / bundle))
        except BackendError as error:
            context.observer.note(f"{deployment.target.name}: {error}")
            return section(replace(item, error=str(error)))
    return found


def _content(
    context: Context, scene: Scene, deployment: Deployment, trained: Trained, section: dict[str, Any]
) -> Content:
    golden = [preprocess(sample.path, scene.contract) for sample in scene.samples[:GOLDEN_IMAGES]]
    recipe = deployment.recipe
    return content_of(
        context,
        deployment.engine,
        scene.contract,
        trained.labels,
        np.stack(golden),
        provenance={
            "backbone": trained.source.name,
            "weights": trained.source.digest,
            "dataset": scene.dataset.digest,
            "recipe": recipe.model_dump(mode="json") if recipe else None,
            "calibration_images": deployment.calibration_images,
            "refitted_head": deployment.refit is not None,
        },
        measurements={key: section[key] for key in section if key not in _NOT_IN_BUNDLES},
        trained_on=[sample.digest for sample in scene.dataset.train],
    )


def _environment(context: Context, engines: Sequence[Engine]) -> dict[str, Any]:
    """This machine, with the versions of all that made and ran these engines."""
    return {**context.environment, "versions": context.versions(*(engine.spec.backend for engine in engines))}


def _train_section(trained: Trained, options: RunOptions) -> dict[str, Any]:
    fitted = trained.fitted
    return {
        "backbone": trained.source.name,
        "weights": trained.source.digest,
        "accuracy": fitted.metrics.accuracy.to_dict() if fitted.metrics else None,
        "l2": fitted.head.l2,
        "cross_validation": [
            {"l2": l2, "accuracy": accuracy} for l2, accuracy in fitted.head.cross_validation
        ],
        "seed": options.seed,
        "versions": versions("torch", "timm", "onnx", "onnxscript", "onnxslim", "nncf"),
        "seconds": {"features": fitted.features_seconds, "head": fitted.head_seconds},
    }


def _note_former_bundles(context: Context, results: Mapping[str, Any], options: RunOptions) -> None:
    """A bundle of an earlier run is left where it is, but nobody shall take it for one of this run."""
    for engine in results["engines"]:
        former = options.out / _BUNDLES / engine["target"]
        if engine["bundle"] is None and former.exists():
            context.observer.note(f"{engine['target']}: {former} is an earlier run's, this one made none")


def _publish(context: Context, results: dict[str, Any], options: RunOptions) -> None:
    write_results(results, options.out / "results.json")
    try:
        from edgetl.reporting import write_report
    except ImportError as error:
        context.observer.note(f"no report.html: {error}; install it with: pip install 'edgetl[report]'")
        return
    with context.observer.stage("write report"):
        write_report(results, options.out / "report.html", images=options.images)


def require_writable(out: Path) -> None:
    """Make the output folder.

    Raises:
        InputError: if it can't be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; choose another folder with -o") from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {out}: permission denied; choose another folder with -o")
