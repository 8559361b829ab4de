"""All that reads bundles, and whether it refuses one as it should: with one line."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from edgetl.errors import EdgetlError

_LONGEST_LINE = 1000

Outcome = Literal["accepted", "refused", "crashed"]
Consumer = Callable[[Path, Path], None]


def look(consumer: str, bundle: Path, home: Path) -> tuple[Outcome, str]:
    """Hand a bundle to a consumer, with a folder of its own; what came of it, and what it said."""
    try:
        CONSUMERS[consumer](bundle, home)
    except EdgetlError as error:
        told = str(error)
        return ("refused" if _is_line(told) else "crashed"), told
    except BaseException as error:
        return "crashed", f"{type(error).__name__}: {error}"
    return "accepted", ""


def _is_line(text: str) -> bool:
    """Whether a terminal shows it as one line, and it is short enough to be read."""
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return 0 < len(text) <= _LONGEST_LINE and not any(ord(character) < 32 for character in text)
    return False


def _check(bundle: Path, home: Path) -> None:
    from edgetl.bundle.check import check_files

    check_files(bundle)


def _verify(bundle: Path, home: Path) -> None:
    from edgetl.bundle.verify import verify

    verify(bundle)


def _load(bundle: Path, home: Path) -> None:
    from edgetl.bundle.runtime import load

    load(bundle).logits(_picture())


def _inspect(bundle: Path, home: Path) -> None:
    from edgetl import api

    api.inspect(bundle, all_layers=True)


def _rebuild(bundle: Path, home: Path) -> None:
    from edgetl.rebuilding import rebuild_bundle

    rebuild_bundle(_context(home), bundle, bundle)


def _bench(bundle: Path, home: Path) -> None:
    from edgetl import api

    api.bench(bundle, context=_context(home))


def _predict(bundle: Path, home: Path) -> None:
    """By the command line, whose errors are one line and an exit status."""
    from PIL import Image

    from edgetl.cli.main import main

    picture = home / "picture.png"
    Image.fromarray(_picture()).save(picture)
    wrong = io.StringIO()
    status: Any = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(wrong):
        try:
            main(["predict", str(bundle), str(picture)])
        except SystemExit as end:
            status = end.code
    text = wrong.getvalue().removesuffix("\n")
    if status and "internal error" not in text:
        raise EdgetlError(text)
    if status or text:
        raise RuntimeError(text)


def _picture() -> Any:
    from edgetl.conformance.network import pictures

    return pictures([0])[0]


def _context(home: Path) -> Any:
    from edgetl.context import Context
    from edgetl.store import Store

    return Context(Store(home / "store"))


CONSUMERS: Mapping[str, Consumer] = {
    "check": _check,
    "verify": _verify,
    "load": _load,
    "predict": _predict,
    "inspect": _inspect,
    "rebuild": _rebuild,
    "bench": _bench,
}
REFUSERS: Mapping[str, frozenset[str]] = {
    "always": frozenset(CONSUMERS),
    "engine": frozenset({"verify", "load", "predict", "bench"}),
    "replay": frozenset({"verify"}),
    "maybe": frozenset(),
}
