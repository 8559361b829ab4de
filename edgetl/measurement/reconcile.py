"""Whether edgetl's latency of an engine is the one that the vendor's own tool gives."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Any

from edgetl.backends.base import VendorTool
from edgetl.errors import BackendError, EdgetlError, InputError
from edgetl.measurement.engine import Images, Runnable, as_batch
from edgetl.measurement.latency import LatencyOptions, measure
from edgetl.measurement.repeats import over_repeats
from edgetl.quantity import Quantity

Progress = Callable[[int, int], None]
"""Called after each measurement: how many are done, of how many."""

_STRETCHES = 8
_STARTING_SECONDS = 300.0
_SETTLING_SECONDS = 0.5  # threads of a runtime, and of NumPy's BLAS, spin on for up to a tenth of that
_IDLE = 0.1  # starting a tool that is done at once takes a few hundredths; one spinning thread, 1
_WIDE = 0.2  # of an interval, for a ratio that is to hold within a few percent
_LAST_WORDS = 300


def reconcile(
    session: Runnable,
    image: Images,
    tool: VendorTool,
    rounds: int = 4,
    seconds: float = 3.0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Time an engine here and with the vendor's tool, in turns; who comes first changes with each round.

    Args:
        session: loaded with the settings that ``tool`` was made of, for latency.
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for an engine of that batch size.
        seconds: how long the session is timed in a round, after its warm-up; the tool knows its own time.

    Returns:
        JSON-ready: ``tool``, ``version``, ``command``, ``n`` rounds, and as quantities over the rounds'
        medians ``ours_ms``, ``theirs_ms`` and ``ratio``, ours over theirs, paired by round; ``notes``, a
        line each, say what may have disturbed it.

    Raises:
        InputError: if the image, the rounds or the seconds make no sense.
        BackendError: if the engine or the tool fails.
    """
    if rounds < 1 or seconds <= 0:
        raise InputError(f"reconcile: {rounds} rounds of {seconds} s; both must be positive")
    batch = as_batch(image)
    ours: list[float] = []
    theirs: list[float] = []
    busy: list[float] = []

    def here() -> None:
        ours.append(_own_median(session, batch, seconds))

    def there() -> None:
        time.sleep(_SETTLING_SECONDS)
        used, begin = time.process_time(), time.perf_counter()
        theirs.append(tool_median(tool, seconds))
        busy.append((time.process_time() - used) / (time.perf_counter() - begin))

    for number in range(rounds):
        pair = (here, there) if number % 2 == 0 else (there, here)
        for position, step in enumerate(pair, 1):
            step()
            if progress:
                progress(2 * number + position, 2 * rounds)
    ratio = over_repeats([our / their for our, their in zip(ours, theirs, strict=True)])
    return {
        "tool": tool.name,
        "version": tool.version,
        "command": shlex.join(tool.command),
        "n": rounds,
        "ours_ms": over_repeats(ours).to_dict(),
        "theirs_ms": over_repeats(theirs).to_dict(),
        "ratio": ratio.to_dict(),
        "notes": [*_notes(tool, max(busy)), *_doubt(ratio)],
    }


def tool_median(tool: VendorTool, seconds: float) -> float:
    """Median milliseconds as the tool prints it, of one run of it.

    Raises:
        BackendError: if it can't be started, fails, takes minutes longer than ``seconds``, or prints none.
    """
    try:
        done = subprocess.run(
            tool.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + _STARTING_SECONDS,
            check=False,
        )
    except OSError as error:
        raise BackendError(f"{tool.name} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{tool.name} was not done after {error.timeout:g} s and was stopped") from error
    if done.returncode:
        said = _last_words(done.stderr) or _last_words(done.stdout) or "it said nothing"
        raise BackendError(f"{tool.name} failed with status {done.returncode}: {said}")
    found = re.search(tool.pattern, done.stdout)
    if found is None:
        raise BackendError(
            f"{tool.name} printed no median latency; it ended with: {_last_words(done.stdout)}"
        )
    unit = found[2] if found.re.groups > 1 else "ms"
    median = float(found[1]) / (1e3 if unit == "us" else 1.0)
    if median <= 0:
        raise BackendError(
            f"{tool.name} printed a median latency of {found[0]!r}; the engine is too fast for it"
        )
    return median


def _own_median(session: Runnable, batch: Images, seconds: float) -> float:
    options = LatencyOptions(
        rounds=_STRETCHES, round_seconds=seconds / _STRETCHES, min_samples=_STRETCHES, max_seconds=2 * seconds
    )
    found = measure({"engine": session}, batch, options)["engine"]
    if isinstance(found, EdgetlError):
        raise found
    return found.p50.value


def _notes(tool: VendorTool, busy: float) -> list[str]:
    """A session's threads that went on spinning took time from the tool."""
    if busy <= _IDLE:
        return []
    return [f"this process used {busy:.0%} of a core while {tool.name} ran, which was slowed down by that"]


def _doubt(ratio: Quantity) -> list[str]:
    """What to think of a ratio that was another in each round."""
    if ratio.low is None or ratio.high is None or ratio.high - ratio.low <= _WIDE * ratio.value:
        return []
    return ["the ratio was another in each round: the machine was not quiet enough to tell"]


def _last_words(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][-_LAST_WORDS:] if lines else ""
