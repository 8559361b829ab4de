"""The verbs as Python functions: the command line calls these and prints what they return."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.context import Context
from edgetl.errors import InputError

if TYPE_CHECKING:
    from edgetl.bundle.runtime import Prediction
    from edgetl.contract import Contract

PathLike = str | Path


def run(
    images: PathLike,
    *,
    targets: Sequence[str] = (),
    out: PathLike = "edgetl-out",
    context: Context | None = None,
    max_drop: float | None = None,
    max_latency: float | None = None,
    max_fallback: float = 0.0,
    on: str | Sequence[str] = (),
    **options: Any,
) -> dict[str, Any]:
    """From a folder of images to measured engines; ``options`` are ``pipeline.RunOptions``' fields.

    Args:
        max_fallback: largest share (0..1) of nodes, or of time, that may run elsewhere than asked for.
        on: devices, by name or ``ssh://`` address, on which the engines of their kind are measured.

    Returns:
        The results document, which is also written to ``out/results.json``.
    """
    from edgetl import pipeline
    from edgetl.results import Budgets

    budgets = Budgets(max_drop, max_latency, max_fallback)
    chosen = pipeline.RunOptions(
        Path(images), Path(out), tuple(targets), budgets=budgets, on=_names(on), **options
    )
    return pipeline.run(chosen, context)


def train(
    images: PathLike,
    out: PathLike,
    *,
    backbone: str | None = None,
    weights: str | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    context: Context | None = None,
) -> dict[str, Any]:
    """Fit a new head on a frozen backbone and write a model folder.

    Returns:
        What was trained: backbone, classes, metrics on the held-out images, seconds, skipped images.
    """
    from edgetl.data import load_dataset
    from edgetl.exporting.stage import compile_backbone
    from edgetl.transfer.backbones import DEFAULT, resolve
    from edgetl.transfer.saved import save_model
    from edgetl.transfer.train import train as fit

    context = context or Context()
    source = resolve(backbone or DEFAULT, weights)
    dataset = load_dataset(images, val_fraction=val_fraction, seed=seed)
    graph, contract = compile_backbone(context, source)
    trained, dataset = fit(context, dataset, source, graph, contract, seed=seed)
    fitted = trained.fitted
    facts = {
        "dataset": dataset.to_dict(),
        "skipped": [{"path": item.path, "reason": item.reason} for item in dataset.skipped],
        "metrics": fitted.metrics.to_dict(dataset.classes) if fitted.metrics else None,
        "seconds": {"features": fitted.features_seconds, "head": fitted.head_seconds},
    }
    save_model(trained, dataset, Path(out), facts)
    return {"model": str(out), "backbone": source.name, "contract": trained.contract.fingerprint, **facts}


def export(
    model: PathLike, out: PathLike, *, batch: int | None = None, context: Context | None = None
) -> dict[str, Any]:
    """Write a model folder as ONNX, after comparing it with torch on the folder's own sample images.

    Args:
        batch: fixed batch size; None leaves it dynamic.

    Returns:
        Path, opset, number of nodes, and the parity with torch.
    """
    from edgetl.exporting.graph import with_metadata
    from edgetl.exporting.stage import assemble, require_parity
    from edgetl.files import write_atomic
    from edgetl.transfer.saved import read_model

    context = context or Context()
    saved = read_model(Path(model))
    dynamic = assemble(context, saved.backbone, saved.head, saved.contract, saved.labels)
    parity = require_parity(context, dynamic, saved.source(), saved.head, saved.contract, saved.samples())
    exported = dynamic
    if batch is not None:
        exported = assemble(context, saved.backbone, saved.head, saved.contract, saved.labels, batch=batch)
    write_atomic(Path(out), with_metadata(exported.path, saved.contract, saved.labels, saved.trained_on()))
    return {
        "onnx": str(out),
        "opset": exported.facts["opset"],
        "nodes": exported.facts["nodes"],
        "contract": saved.contract.fingerprint,
        "parity": parity.to_dict(),
    }


def quantize(
    onnx: PathLike,
    images: PathLike,
    target: str,
    out: PathLike,
    *,
    recipe: str | None = None,
    contract: Contract | None = None,
    refit_head: bool = True,
    seed: int = 0,
    context: Context | None = None,
) -> dict[str, Any]:
    """Quantize an ONNX with calibration images, drawn from the training side where there is one.

    The head of an edgetl model is refitted on the integer backbone if ``images`` is a labelled folder of
    the model's own classes.

    Args:
        contract: preprocessing of a foreign ONNX; see ``edgetl.Contract``.

    Returns:
        Path, recipe, number of calibration images, and the refitted head's held-out accuracy.
    """
    from edgetl import profiles
    from edgetl.midway import quantize_file

    chosen = profiles.target(target)
    return quantize_file(
        context or Context(),
        Path(onnx),
        Path(images),
        chosen,
        profiles.recipe(recipe or chosen.recipe),
        Path(out),
        declared=contract,
        refit_head=refit_head,
        seed=seed,
    )


def build(
    onnx: PathLike,
    target: str,
    out: PathLike,
    *,
    precision: str | None = None,
    contract: Contract | None = None,
    context: Context | None = None,
) -> dict[str, Any]:
    """Build an engine from a float or QDQ ONNX and write it as a bundle.

    Args:
        precision: ``f32`` (TensorRT: ``f16`` and ``bf16`` too) to build a float engine on purpose.

    Returns:
        Path of the bundle, precision read back, size.
    """
    from edgetl import profiles
    from edgetl.backends import get_backend
    from edgetl.midway import build_bundle

    chosen = profiles.target(target)
    if precision not in (None, chosen.precision):
        halves = ("f16", "bf16") if get_backend(chosen.backend).dialect == "tensorrt" else ()
        if precision not in ("f32", *halves):
            known = ", ".join(dict.fromkeys(("f32", *halves, chosen.precision)))
            raise InputError(f"target {target} is {chosen.precision}; --precision can only be {known}")
        chosen = chosen.model_copy(update={"precision": precision, "float_precision": precision})
    return build_bundle(context or Context(), Path(onnx), chosen, Path(out), declared=contract)


def rebuild(
    bundle: PathLike, out: PathLike | None = None, *, on: str | None = None, context: Context | None = None
) -> dict[str, Any]:
    """Build a bundle's engine on its device from its portable model, and measure it.

    Args:
        out: where the new bundle goes; None replaces the engine in ``bundle``.
        on: the device, by name or ``ssh://`` address; None for this machine.

    Returns:
        The engine's entry as in a results document, and ``golden_difference``.
    """
    context, place = context or Context(), Path(out or bundle)
    if on is not None:
        from edgetl.remote.bundles import rebuild_there
        from edgetl.remote.devices import device

        return rebuild_there(device(on), context.observer, Path(bundle), place)
    from edgetl.rebuilding import rebuild_bundle

    return rebuild_bundle(context, Path(bundle), place)


def bench(
    bundle: PathLike,
    images: PathLike | None = None,
    *,
    on: str | Sequence[str] = (),
    against: PathLike | None = None,
    max_latency: float | None = None,
    max_fallback: float = 0.0,
    brief: bool = False,
    seconds: float = 2.0,
    minutes: float | None = None,
    reconcile: bool = False,
    install: bool = False,
    context: Context | None = None,
) -> dict[str, Any]:
    """Measure a bundle: latency, throughput, placement, and accuracy if there are labelled images.

    Args:
        on: devices by name or ``ssh://`` address; none for this machine.
        against: another bundle, to take turns with: the ratio of their latencies is exact to a percent.
        max_fallback: largest share (0..1) of nodes, or of time, that may run elsewhere than asked for.
        brief: nothing but accuracy, latency, throughput, placement, and what is asked for.
        seconds: how long a latency or a throughput is taken, at least.
        minutes: run without a pause for so long too.
        reconcile: run the vendor's own tool too.
        install: install on a device what its Python lacks, into an environment of edgetl's own.

    Returns:
        A results document with one engine, or one for each device.
    """
    from edgetl.benchmark import Bench, bench_bundle
    from edgetl.findings import Wanted
    from edgetl.results import Budgets

    folder = Path(images) if images is not None else None
    budgets = Budgets(max_latency=max_latency, max_fallback=max_fallback)
    return bench_bundle(
        context or Context(),
        Bench(
            Path(bundle),
            folder,
            _names(on),
            Path(against) if against is not None else None,
            budgets,
            Wanted(brief=brief, seconds=seconds, minutes=minutes, reconcile=reconcile, install=install),
        ),
    )


def compare(base: PathLike, new: PathLike, **settings: Any) -> dict[str, Any]:
    """Whether the engines of a results document became worse than those of an earlier one.

    Args:
        settings: ``comparing.Settings``' fields.

    Returns:
        ``status`` (1 if anything did), ``counts`` by verdict, and each engine's ``checks``.
    """
    from edgetl.comparing import Settings
    from edgetl.comparing import compare as judge
    from edgetl.results import read_results

    return judge(read_results(Path(base)), read_results(Path(new)), Settings(**settings)).to_dict()


def _names(on: str | Sequence[str]) -> tuple[str, ...]:
    return (on,) if isinstance(on, str) else tuple(on)


def predict(bundle: PathLike, images: Sequence[PathLike]) -> list[Prediction]:
    """Classify pictures with a bundle, in order.

    Raises:
        UnreadableImageError: if a picture can't be decoded.
    """
    from edgetl.bundle.runtime import load

    model = load(bundle)
    return [model.predict(Path(image)) for image in images]


def inspect(path: PathLike, *, all_layers: bool = False) -> dict[str, Any]:
    """Describe a bundle or a raw engine file: format, version, precision, placement, layers.

    Args:
        all_layers: list every layer, not only those that multiply, move data or store most.
    """
    from edgetl.inspection import inspect as describe

    return describe(Path(path), all_layers=all_layers)


def report(results: PathLike, out: PathLike | None = None, *, images: PathLike | None = None) -> Path:
    """Write ``report.html`` beside a results document.

    Args:
        images: the image folder for thumbnails; None takes the one the results name.
    """
    from edgetl.reporting import write_report
    from edgetl.results import read_results

    if images is not None and not Path(images).is_dir():
        raise InputError(f"{images} is no folder of images")
    document = read_results(Path(results))
    folder = Path(results) if Path(results).is_dir() else Path(results).parent
    root = Path(images or (document.get("dataset") or {}).get("root") or ".")
    return write_report(document, Path(out) if out else folder / "report.html", images=root)
