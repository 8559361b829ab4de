"""The whole story: images → frozen backbone, new head → ONNX → INT8 → engines → measurements → bundles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgetl import profiles
from edgetl.bench.stage import measure_accuracy, measure_speed
from edgetl.bundle.write import Content, write_bundle
from edgetl.bundling import GOLDEN_IMAGES, content_of
from edgetl.context import Context
from edgetl.contract import preprocess
from edgetl.data import Dataset, load_dataset
from edgetl.engines import Engine, best_target, build_engine, engine_spec
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.export.stage import Exported, assemble, check_parity, compile_backbone
from edgetl.metrics import evaluate
from edgetl.profiles import Recipe, Target
from edgetl.quantize.stage import MODEL, quantize_graph
from edgetl.results import Budgets, Measured, Scene, document, engine_section, float_section, write_results
from edgetl.transfer.backbones import DEFAULT, resolve
from edgetl.transfer.train import FittedHead, Trained, fit_on_engine, train
from edgetl.versions import versions


@dataclass(frozen=True)
class RunOptions:
    """What to run.

    Attributes:
        images: folder of class folders, or one with ``train/`` and ``val/`` (and ``test/``).
        targets: names of target profiles; empty means the one that describes this machine.
        weights: see ``transfer.backbones.resolve``.
        recipe: name of a calibration recipe; None takes each target's own.
        refit_head: fit the head again on the integer backbone's features.
        remeasure: take latencies anew even if the store has them.
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


@dataclass(frozen=True)
class Built:
    """An engine of the run, with how its head came about."""

    engine: Engine
    recipe: Recipe | None
    plain: FittedHead
    refitted: FittedHead | None
    calibration_images: int


def run(options: RunOptions, context: Context | None = None) -> dict[str, Any]:
    """Run the whole story and write bundles, ``results.json`` and ``report.html`` into ``options.out``.

    Returns:
        The results document.

    Raises:
        InputError: if the images, a target or an option are wrong.
        EdgetlError: if no engine could be made.
    """
    context = context or Context()
    targets = [profiles.target(name) for name in options.targets or (best_target(context.environment),)]
    recipes = {target.name: profiles.recipe(options.recipe or target.recipe) for target in targets}
    source = resolve(options.backbone, options.weights)

    with context.observer.stage("read images") as advance:
        dataset = load_dataset(
            options.images, val_fraction=options.val_fraction, seed=options.seed, progress=advance
        )
    require_writable(options.out)
    graph, contract = compile_backbone(context, source)
    trained, dataset = train(context, dataset, source, graph, contract, seed=options.seed)
    exported = assemble(context, trained.backbone, trained.fitted.head, trained.contract, trained.labels)
    parity = check_parity(context, exported, source, trained.fitted.head, trained.contract, dataset.held_out)

    built, errors = _build_all(context, options, targets, recipes, trained, exported, dataset)
    references = _references(context, exported, [target for target in targets if target.name in built])
    measured = _measure_all(
        context, [*references, *(item.engine for item in built.values())], dataset, trained, options.remeasure
    )

    scene = Scene(dataset, trained.contract, _reference_predictions(measured, references), options.budgets)
    engines = [
        _finish(context, options, scene, target, built.get(target.name), measured, trained, errors)
        for target in targets
    ]
    results = document(
        scene,
        context.environment,
        train=_train_section(trained, options),
        export={**{key: exported.facts[key] for key in ("opset", "nodes")}, "parity": parity.to_dict()},
        fp32=float_section(scene, [measured[engine.name] for engine in references]),
        engines=engines,
    )
    _publish(context, results, options)
    if all(engine["error"] for engine in engines):
        raise EdgetlError(f"no engine could be made: {engines[0]['error']}")
    return results


def _build_all(
    context: Context,
    options: RunOptions,
    targets: Sequence[Target],
    recipes: dict[str, Recipe],
    trained: Trained,
    exported: Exported,
    dataset: Dataset,
) -> tuple[dict[str, Built], dict[str, str]]:
    """Engines by target; a target that fails is an error of its own and leaves the others standing."""
    built: dict[str, Built] = {}
    errors: dict[str, str] = {}
    for target in targets:
        try:
            built[target.name] = _build(
                context, options, target, recipes[target.name], trained, exported, dataset
            )
        except (BackendError, InputError) as error:
            errors[target.name] = str(error)
            context.observer.note(f"{target.name}: {error}")
    return built, errors


def _build(
    context: Context,
    options: RunOptions,
    target: Target,
    recipe: Recipe,
    trained: Trained,
    exported: Exported,
    dataset: Dataset,
) -> Built:
    if target.precision != "int8":
        with context.observer.stage(f"build {target.name}"):
            return Built(build_engine(context, exported.path, target), None, trained.fitted, None, 0)
    with context.observer.stage(f"quantize for {target.name}"):
        entry = quantize_graph(
            context, trained.backbone, trained.contract, dataset.train, target, recipe, seed=options.seed
        )
    quantized = entry.file(MODEL)
    refitted = None
    if options.refit_head:
        refitted, _ = fit_on_engine(
            context,
            quantized,
            engine_spec(target, MODEL),
            trained.contract,
            dataset,
            seed=options.seed,
            title=f"features of the INT8 backbone for {target.name}",
        )
    head = (refitted or trained.fitted).head
    final = assemble(context, quantized, head, trained.contract, trained.labels, batch=target.batch)
    with context.observer.stage(f"build {target.name}"):
        engine = build_engine(context, final.path, target)
    plain = _plain_on_integer(trained.fitted, refitted, dataset)
    return Built(engine, recipe, plain, refitted, entry.facts["images"])


def _plain_on_integer(float_fit: FittedHead, refitted: FittedHead | None, dataset: Dataset) -> FittedHead:
    """The float-fitted head judged on the integer backbone's held-out features."""
    if refitted is None or not dataset.held_out:
        return float_fit
    labels = np.array([sample.label for sample in dataset.held_out])
    logits = float_fit.head.logits(refitted.features.matrix(dataset.held_out))
    return replace(float_fit, metrics=evaluate(logits, labels, len(dataset.classes)))


def _references(context: Context, exported: Exported, targets: Sequence[Target]) -> list[Engine]:
    """A float engine for each backend in use."""
    first = {target.backend: target for target in reversed(targets)}
    with context.observer.stage("build float references"):
        return [
            build_engine(context, exported.path, first[name], precision="f32")
            for name in sorted(first, reverse=True)
        ]


def _measure_all(
    context: Context, engines: Sequence[Engine], dataset: Dataset, trained: Trained, again: bool
) -> dict[str, Measured]:
    predictions: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for engine in engines:
        try:
            predictions[engine.name] = measure_accuracy(context, engine, dataset.held_out, trained.contract)
        except EdgetlError as error:
            errors[engine.name] = str(error)
    image = preprocess(dataset.held_out[0].path, trained.contract)
    measured = {}
    for engine, speed in zip(engines, measure_speed(context, engines, image, again=again), strict=True):
        if isinstance(speed, str):
            errors.setdefault(engine.name, speed)
        measured[engine.name] = Measured(
            engine,
            predictions.get(engine.name),
            None if isinstance(speed, str) else speed,
            errors.get(engine.name),
        )
    return measured


def _reference_predictions(measured: dict[str, Measured], references: Sequence[Engine]) -> Any:
    return next((measured[engine.name].predictions for engine in references), None)


def _finish(
    context: Context,
    options: RunOptions,
    scene: Scene,
    target: Target,
    built: Built | None,
    measured: dict[str, Measured],
    trained: Trained,
    errors: dict[str, str],
) -> dict[str, Any]:
    """Write the bundle of one engine and return its entry in the results."""
    if built is None:
        return _failed(target, errors[target.name])
    item = measured[target.name]
    bundle = Path("bundles") / target.name
    refit = _refit_section(built)
    section = engine_section(
        scene, item, bundle.as_posix(), recipe=built.recipe.name if built.recipe else None, refit=refit
    )
    if item.error is None:
        content = _content(context, scene, built, trained, section)
        with context.observer.stage(f"bundle {target.name}"):
            write_bundle(content, options.out / bundle)
    else:
        section["bundle"] = None
    return section


def _failed(target: Target, error: str) -> dict[str, Any]:
    empty = (
        *("bundle", "size_bytes", "accuracy", "drop_points", "agreement", "latency_ms", "throughput_per_s"),
        *("placement", "speedup", "refit", "recipe"),
    )
    return {
        "target": target.name,
        "backend": target.backend,
        "precision": target.precision,
        **dict.fromkeys(empty),
        "changed": [],
        "latency_samples_ms": [],
        "gate": "failed",
        "error": error,
    }


def _refit_section(built: Built) -> dict[str, Any] | None:
    if built.refitted is None or built.refitted.metrics is None or built.plain.metrics is None:
        return None
    return {
        "before": built.plain.metrics.accuracy.to_dict(),
        "after": built.refitted.metrics.accuracy.to_dict(),
    }


def _content(
    context: Context, scene: Scene, built: Built, trained: Trained, section: dict[str, Any]
) -> Content:
    golden = np.stack([preprocess(sample.path, scene.contract) for sample in scene.samples[:GOLDEN_IMAGES]])
    return content_of(
        context,
        built.engine,
        scene.contract,
        trained.labels,
        golden,
        provenance={
            "backbone": trained.source.name,
            "weights": trained.source.digest,
            "dataset": scene.dataset.digest,
            "recipe": built.recipe.model_dump(mode="json") if built.recipe else None,
            "calibration_images": built.calibration_images,
            "refitted_head": built.refitted is not None,
        },
        measurements={
            key: value for key, value in section.items() if key not in ("latency_samples_ms", "changed")
        },
        trained_on=[sample.digest for sample in scene.dataset.train],
    )


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


def _publish(context: Context, results: dict[str, Any], options: RunOptions) -> None:
    write_results(results, options.out / "results.json")
    try:
        from edgetl.report import write_report
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
