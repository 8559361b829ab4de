"""Latency over minutes: what an engine still does when the device is warm, and where it was throttled."""

from __future__ import annotations

import gc
import math
import statistics
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetl.device.state import State, state_reader
from edgetl.errors import InputError
from edgetl.measurement.engine import Images, Runnable, as_batch, as_error
from edgetl.measurement.latency import Latency, min_samples_for, paired_ratio, summarise
from edgetl.measurement.levels import level_changes
from edgetl.measurement.steady import TOLERANCE, WarmUp, changed, two_modes, warm_up
from edgetl.quantity import Quantity

Floats = npt.NDArray[np.float64]
Clock = Callable[[], int]
Progress = Callable[[float], None]
"""Called between windows: the share of all work done (0..1)."""

MAX_WINDOWS = 240
"""However long it takes, there are no more windows than this."""

_MIN_WINDOW_SECONDS = 1.0
_KEPT = 2000
_MINUTE = 60.0
_HOTTER_C = 3.0


@dataclass(frozen=True)
class Window:
    """Some seconds of single-stream runs.

    Attributes:
        t_s: when it began, seconds since the first one did.
        n: runs in it.
        p50_ms: median of their times.
        p99_ms: None where ``n`` does not support it.
        state: of the machine right after it.
        samples_ms: at most 2,000 of the times, evenly picked, so that hours fit into memory.
    """

    t_s: float
    n: int
    p50_ms: float
    p99_ms: float | None
    state: State
    samples_ms: Floats

    def to_dict(self) -> dict[str, Any]:
        return {
            "t_s": self.t_s,
            "n": self.n,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            **asdict(self.state),
        }


def sustain(
    engine: Runnable,
    image: Images,
    minutes: float,
    read_state: Callable[[], State] | None = None,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Any]:
    """Runs ``engine`` on one image (or batch) after the other for ``minutes``, and finds what changed.

    Args:
        image: ``uint8 [H, W, 3]``, or a batch ``[N, H, W, 3]`` for an engine of that batch size.
        read_state: clock and temperature, read between windows, never while a run is timed.
        clock: nanoseconds.

    Returns:
        JSON-ready: see :func:`findings`, with ``minutes`` (asked for), ``seconds`` (taken),
        ``warmup_runs`` and ``windows`` (t_s, n, p50_ms, p99_ms, mhz, gpu_mhz, temperature_c) beside it.

    Raises:
        InputError: if the image or ``minutes`` make no sense.
        BackendError: if the engine fails.
    """
    if not (minutes > 0 and math.isfinite(minutes)):
        raise InputError(f"sustained: give minutes above 0, got {minutes}")
    run, batch = engine.run, as_batch(image)
    read_state = read_state or state_reader()
    length = max(_MIN_WINDOW_SECONDS, minutes * _MINUTE / MAX_WINDOWS)
    windows: list[Window] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        warmed = warm_up(lambda: _one_run(run, batch, clock) / 1e9, max_seconds=2.0)
        begin = clock()
        elapsed = 0.0
        while not windows or elapsed < minutes * _MINUTE - length / 2:  # no stump of a window at the end
            n, times = _timed(run, batch, clock, round(min(length, minutes * _MINUTE - elapsed) * 1e9))
            windows.append(_window(elapsed, n, times, read_state()))
            gc.collect(0)  # for an hour without it, cycles would fill the memory
            elapsed = (clock() - begin) / 1e9
            if progress:
                progress(min(1.0, elapsed / (minutes * _MINUTE)))
    except Exception as error:
        after = sum(window.n for window in windows)
        raise as_error(f"sustained, after {after} runs", error)  # noqa: B904 - it keeps its own cause
    finally:
        if collecting:
            gc.enable()
    return {
        "minutes": minutes,
        "seconds": elapsed,
        "warmup_runs": len(warmed.samples),
        "windows": [window.to_dict() for window in windows],
        **findings(windows, elapsed),
    }


def _one_run(run: Callable[[Images], object], batch: Images, clock: Clock) -> int:
    start = clock()
    run(batch)
    return clock() - start


def _timed(run: Callable[[Images], object], batch: Images, clock: Clock, length: int) -> tuple[int, Floats]:
    """(number of runs, milliseconds of every ``k``-th) for ``length`` nanoseconds, at least one run."""
    times = array("q")
    n, every = 0, 1
    deadline = clock() + length
    while True:
        start = clock()
        run(batch)
        stop = clock()
        if n % every == 0:
            times.append(stop - start)
            if len(times) > _KEPT:
                times = times[::2]
                every *= 2
        n += 1
        if stop >= deadline:
            return n, np.maximum(np.array(times), 1) / 1e6


def _window(begin: float, n: int, times: Floats, state: State) -> Window:
    p50, p99 = np.quantile(times, (0.5, 0.99))
    supported = times.size >= min_samples_for(0.99)
    return Window(begin, n, float(p50), float(p99) if supported else None, state, times)


def findings(windows: Sequence[Window], seconds: float) -> dict[str, Any]:
    """What became of the latency.

    Args:
        windows: in order, at least one.
        seconds: from the first window's begin to the last one's end.

    Returns:
        JSON-ready. ``n`` runs in all; ``first`` and ``last`` (``seconds`` and ``p50_ms`` of the first and
        the last minute, of a run below three minutes the first and last third); ``slowdown``, the ratio of
        the last to the first, paired window by window; ``changes`` of the level in order, each with ``t_s``,
        ``before`` and ``after`` (p50_ms, mhz, gpu_mhz, temperature_c: medians of the levels beside it),
        ``throttled`` (slower, and a clock fell), ``hotter`` (3 degrees or more) and ``text``; ``throttled``,
        None where no clock can be read; ``notes``.
    """
    span = min(_MINUTE, seconds / 3)
    first = [w for w in windows if w.t_s < span] or list(windows[:1])
    last = [w for w in windows if w.t_s >= seconds - span - 1e-6] or list(windows[-1:])
    early, late = _pooled(first), _pooled(last)
    p50s = np.array([window.p50_ms for window in windows])
    edges = [0, *level_changes(p50s), len(windows)]
    levels = [windows[a:b] for a, b in pairwise(edges)]
    changes = [_change(before, after) for before, after in pairwise(levels)]
    slowdown = paired_ratio(late, early)
    blind = all(w.state.mhz is None and w.state.gpu_mhz is None for w in windows)
    return {
        "n": sum(window.n for window in windows),
        "first": {"seconds": span, "p50_ms": _p50(first, early).to_dict()},
        "last": {"seconds": span, "p50_ms": _p50(last, late).to_dict()},
        "slowdown": slowdown.to_dict(),
        "changes": changes,
        "throttled": None if blind else any(change["throttled"] for change in changes),
        "notes": [*_notes(windows, p50s, blind), *_untold(slowdown, changes)],
    }


def _pooled(windows: Sequence[Window]) -> Latency:
    """The windows as rounds of one latency measurement."""
    return summarise([window.samples_ms for window in windows], WarmUp((0.0,), True))


def _p50(windows: Sequence[Window], pooled: Latency) -> Quantity:
    return replace(pooled.p50, n=sum(window.n for window in windows))


def _change(before: Sequence[Window], after: Sequence[Window]) -> dict[str, Any]:
    was, now = _level(before), _level(after)
    t_s, ratio = after[0].t_s, now["p50_ms"] / was["p50_ms"]
    clocks = [
        (what, was[name], now[name], _moved(before, after, name))
        for name, what in (("mhz", "clock"), ("gpu_mhz", "GPU clock"))
    ]
    fell = [f"{what} fell from {a:.0f} to {b:.0f} MHz" for what, a, b, moved in clocks if moved < 0]
    rose = [f"{what} rose from {a:.0f} to {b:.0f} MHz" for what, a, b, moved in clocks if moved > 0]
    same = [f"{what} stayed at {b:.0f} MHz" for what, _, b, moved in clocks if b is not None and not moved]
    when, p50 = f"at {t_s / 60:.1f} min", f"p50 {ratio - 1:+.0%}"
    throttled = ratio > 1 and bool(fell)
    if throttled:
        text = ", ".join([f"throttled: {' and '.join(fell)} {when}", *_heat(was, now), p50])
    else:
        known = [*rose, *fell, *same] or ["no clock can be read"]
        kind = "slower" if ratio > 1 else "faster"
        text = f"{kind} {when}, {p50}: {', '.join([*known, *_heat(was, now)])}"
    return {
        "t_s": t_s,
        "before": was,
        "after": now,
        "throttled": throttled,
        "hotter": _hotter(was, now),
        "text": text,
    }


def _hotter(was: dict[str, Any], now: dict[str, Any]) -> bool | None:
    a, b = was["temperature_c"], now["temperature_c"]
    return None if a is None or b is None else bool(b - a >= _HOTTER_C)


def _heat(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    if now["temperature_c"] is None:
        return []
    before = f" after {was['temperature_c']:.0f}" if _hotter(was, now) else ""
    return [f"{now['temperature_c']:.0f} C{before}"]


def _level(windows: Sequence[Window]) -> dict[str, Any]:
    """Medians of what is known."""
    facts = [window.to_dict() for window in windows]
    values = {
        key: [f[key] for f in facts if f[key] is not None] for key in ("p50_ms", *asdict(windows[0].state))
    }
    return {key: statistics.median(found) if found else None for key, found in values.items()}


def _moved(before: Sequence[Window], after: Sequence[Window], name: str) -> int:
    """-1 if that clock fell from one level to the next, 1 if it rose, 0 if neither or not known."""
    a, b = ([v for w in windows if (v := getattr(w.state, name)) is not None] for windows in (before, after))
    if not a or not b or not changed(a, b, TOLERANCE):
        return 0
    return 1 if statistics.median(b) > statistics.median(a) else -1


def _untold(slowdown: Quantity, changes: Sequence[object]) -> list[str]:
    """What the ends show and the search for levels does not: it wants five windows of each."""
    if changes or abs(slowdown.value - 1) <= TOLERANCE:
        return []
    return ["beginning and end differ, but a change of level can't be told from noise: run it for longer"]


def _notes(windows: Sequence[Window], p50s: Floats, blind: bool) -> list[str]:
    notes = []
    if blind:
        notes.append("this machine tells no clock: a slow-down can't be told from throttling")
    modes = two_modes(p50s)
    if modes is not None:
        low, high, share = modes
        above = p50s > (low + high) / 2
        crossings = int(np.count_nonzero(above[1:] != above[:-1]))
        if crossings >= 6:
            levels = f"{1 - share:.0%} of the windows near {low:.3f} ms, {share:.0%} near {high:.3f} ms"
            notes.append(f"alternates: {levels}")
    return notes
