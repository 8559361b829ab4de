"""Whether harmed and forged bundles are refused, in one line, by all that reads bundles.

Every bundle goes through children that may take so much memory and so much time and no more, in a folder
whose files are listed before and after.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from random import Random

from benchmarks import forged  # noqa: F401  (adds to the kinds)
from benchmarks.consumers import CONSUMERS, REFUSERS, Outcome, look
from benchmarks.forgery import KINDS, OUTSIDE, Forger, Kind
from benchmarks.goal import Goal
from benchmarks.settings import Settings
from benchmarks.small_bundle import DEVICES, make_bundle

AREA = "device"
_COUNT = 1000
_WORKERS = 2
_SECONDS = 60.0
"""Given to one look at a bundle, on a machine that may be busy; a reader that waits for a FIFO never ends."""

_MEMORY = 2 << 30
"""Bytes of address space that a child may take beyond what its runtimes took to start."""

_BENCHED = 25
"""Of bundles that may be valid, one in so many is measured, which takes seconds."""

INVALID = [kind for kind in KINDS if kind.refused != "maybe"]
DOUBTFUL = [kind for kind in KINDS if kind.refused == "maybe"]


@dataclass(frozen=True)
class Look:
    """What came of one bundle in the hands of one consumer."""

    kind: Kind
    number: int
    consumer: str
    outcome: Outcome
    told: str

    @property
    def wrong(self) -> bool:
        """Whether a bundle was taken that nobody may take."""
        return self.outcome == "accepted" and self.consumer in REFUSERS[self.kind.refused]

    def __str__(self) -> str:
        return f"{self.kind.name} ({self.number}), {self.consumer}: {self.outcome}: {self.told}"


@dataclass(frozen=True)
class Trial:
    """One mutated bundle: what each consumer made of it, and what changed around it."""

    looks: tuple[Look, ...]
    written: tuple[str, ...]


def goals(settings: Settings) -> Iterator[Goal]:
    count = 150 if settings.quick else _COUNT
    settings.say(f"{count:,} mutated bundles, and {count // 10} that may be valid")
    work = settings.folder("mutations")
    bundles = [make_bundle(name, settings.folder(f"made-{name}"), work / name) for name in DEVICES]
    trials = [*tried(bundles, INVALID, count, work), *tried(bundles, DOUBTFUL, count // 10, work)]
    looks = [look for trial in trials for look in trial.looks]
    against = f"{count:,} mutations of {len(INVALID)} kinds, {len(CONSUMERS)} consumers, {len(looks):,} looks"
    accepted = [str(look) for look in looks if look.wrong]
    valid = (
        f"{count // 10} more were sealed again with other content: no digest can tell these from valid ones"
    )
    yield _none("mutated bundles accepted", accepted, against, valid)
    crashed = [str(look) for look in looks if look.outcome == "crashed"]
    yield _none("mutated bundles that crash edgetl", crashed, against, "or hang it, or take 2 GiB")
    written = [name for trial in trials for name in trial.written]
    yield _none("mutated bundles that write outside", written, against, "edgetl's own folders")


def _none(what: str, found: list[str], against: str, note: str) -> Goal:
    return Goal(AREA, what, len(found), "", against, "<=", 0.0, note=found[0] if found else note)


def tried(
    bundles: Sequence[Path], kinds: Sequence[Kind], count: int, work: Path, *, seed: int = 0
) -> Iterator[Trial]:
    """Mutate copies of bundles, each kind in turn, and hand each to the consumers.

    Args:
        work: a folder for the copies, which are removed.
    """
    idle: SimpleQueue[Child] = SimpleQueue()
    children = [Child(Path(tempfile.mkdtemp(dir=work))) for _ in range(_WORKERS)]
    for child in children:
        idle.put(child)

    def one(number: int) -> Trial:
        child = idle.get()
        try:
            source = bundles[number // len(kinds) % len(bundles)]
            return _trial(child, source, kinds[number % len(kinds)], number, work, seed)
        finally:
            idle.put(child)

    try:
        with ThreadPoolExecutor(_WORKERS) as pool:
            yield from pool.map(one, range(count))
    finally:
        for child in children:
            child.close()


def _trial(child: Child, source: Path, kind: Kind, number: int, work: Path, seed: int) -> Trial:
    rng = Random(f"{seed} {number}")
    place = work / f"trial{number}"
    (place / OUTSIDE).mkdir(parents=True)
    (place / OUTSIDE / "x").write_bytes(b"not yours\n")
    bundle = place / "bundle"
    shutil.copytree(source, bundle)
    kind.harm(Forger(bundle, rng))
    before = listing(place)
    asked = [
        name
        for name in CONSUMERS
        if name != "bench" or kind.refused in ("always", "engine") or rng.randrange(_BENCHED) == 0
    ]
    looks = [Look(kind, number, name, *child.ask(name, bundle)) for name in asked]
    after = listing(place)
    shutil.rmtree(place)
    changed = sorted({name for name, _ in before.items() ^ after.items()} | child.strays())
    return Trial(tuple(looks), tuple(f"{kind.name} ({number}): {name}" for name in changed))


def listing(place: Path) -> dict[str, tuple[int, ...]]:
    """What tells whether anything below a folder was written: files by their path."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, names, files in os.walk(place):
        for name in (*names, *files):
            path = Path(folder) / name
            facts = path.lstat()
            found[str(path)] = (facts.st_ino, facts.st_mode, facts.st_size, facts.st_mtime_ns, facts.st_nlink)
    return found


class Child:
    """A process that looks at bundles, started again when it dies or takes too long."""

    def __init__(self, home: Path) -> None:
        self._home = home
        (home / "here").mkdir()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, str(self._home)), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, consumer: str, bundle: Path) -> tuple[Outcome, str]:
        try:
            self._ours.send((consumer, str(bundle)))
            if self._ours.poll(_SECONDS):
                outcome, told = self._ours.recv()
                return outcome, told
            told = f"no answer in {_SECONDS:.0f} s"
        except (EOFError, OSError):
            self._process.join(5)
            told = f"the process died ({self._process.exitcode})"
        self.close()
        self._start()
        return "crashed", told

    def strays(self) -> set[str]:
        """What lies in the folder the child works in; nothing should."""
        return {str(path) for path in (self._home / "here").rglob("*")}

    def close(self) -> None:
        self._ours.close()
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, home: str) -> None:
    """In the child: answer until the pipe is closed."""
    for variable in ("HOME", "EDGETL_CACHE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        os.environ[variable] = str(Path(home) / variable)
        Path(home, variable).mkdir(exist_ok=True)
    os.chdir(Path(home) / "here")
    tempfile.tempdir = None
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # runtimes print natively
    os.dup2(silence, 2)
    _limit_memory()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            consumer, bundle = pipe.recv()
            pipe.send(look(consumer, Path(bundle), Path(home)))


def _limit_memory() -> None:
    import resource

    from edgetl.backends import get_backend

    for name in DEVICES:
        get_backend(name).available()
    status = Path("/proc/self/status")
    if status.exists():
        taken = next(line for line in status.read_text().splitlines() if line.startswith("VmSize"))
        resource.setrlimit(resource.RLIMIT_AS, (int(taken.split()[1]) * 1024 + _MEMORY,) * 2)
