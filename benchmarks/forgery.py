"""Harm done to bundles, by accident or on purpose: each kind draws its details from a seeded generator."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from edgetl.bundle.manifest import NAME
from edgetl.files import digest_of, relative_files, sha256_file

Refused = Literal["always", "engine", "replay", "maybe"]
"""By all that reads the bundle; by all that loads its engine; by the replay of the golden input; or perhaps
by nobody, as whoever makes the digests fit has made another bundle, as valid as the first."""

OUTSIDE = "outside"
"""Folder beside a bundle, which forged paths lead to."""


@dataclass
class Forger:
    """A bundle in the hands of somebody who knows how its digests are made."""

    bundle: Path
    rng: Random

    @property
    def manifest(self) -> Path:
        return self.bundle / NAME

    def read(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.manifest.read_bytes())
        return document

    def seal(self, document: Mapping[str, Any]) -> None:
        """Write a manifest with a digest that fits."""
        rest = {key: value for key, value in document.items() if key != "digest"}
        text = json.dumps({**rest, "digest": digest_of(rest)}, indent=1, sort_keys=True) + "\n"
        self.manifest.write_text(text)

    def seal_files(self) -> None:
        """Make the listed digests fit what is there."""
        names = [name for name in relative_files(self.bundle) if name != NAME]
        facts = {
            name: {"sha256": sha256_file(self.bundle / name), "bytes": (self.bundle / name).stat().st_size}
            for name in names
        }
        self.seal({**self.read(), "files": facts})

    def file(self, *, manifest: bool = True) -> Path:
        """One of its files."""
        names = [name for name in relative_files(self.bundle) if manifest or name != NAME]
        return self.bundle / self.rng.choice(names)

    def engine(self) -> Path:
        """One of the engine's files."""
        return self.rng.choice(sorted((self.bundle / "engine").iterdir()))

    def outside(self, name: str = "x") -> Path:
        return self.bundle.parent / OUTSIDE / name


Harm = Callable[[Forger], None]


@dataclass(frozen=True)
class Kind:
    """One way to harm a bundle."""

    name: str
    refused: Refused
    harm: Harm


KINDS: list[Kind] = []


def kind(refused: Refused) -> Callable[[Harm], Harm]:
    """Make a function one of the kinds, called as the function is."""

    def register(harm: Harm) -> Harm:
        KINDS.append(Kind(harm.__name__.strip("_").replace("_", " "), refused, harm))
        return harm

    return register


def flip(path: Path, rng: Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def swap(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


@kind("always")
def _flipped_bit(it: Forger) -> None:
    flip(it.file(), it.rng)


@kind("always")
def _truncated(it: Forger) -> None:
    cut(it.file(), it.rng)


@kind("always")
def _emptied(it: Forger) -> None:
    it.file().write_bytes(b"")


@kind("always")
def _extended(it: Forger) -> None:
    with it.file().open("ab") as stream:
        stream.write(it.rng.randbytes(it.rng.choice((1, 64, 10_000))))


@kind("always")
def _grown_to_gigabytes(it: Forger) -> None:
    os.truncate(it.file(), it.rng.choice((1 << 33, 1 << 36)))  # a hole: it takes no room


@kind("always")
def _swapped_files(it: Forger) -> None:
    one, two = it.file(), it.file()
    while one.read_bytes() == two.read_bytes():
        two = it.file()
    swap(one, two)


@kind("always")
def _missing_file(it: Forger) -> None:
    it.file().unlink()


@kind("always")
def _renamed_file(it: Forger) -> None:
    path = it.file()
    path.rename(path.with_name(it.rng.choice((path.name.upper(), f"{path.name} ", f"{path.name}.", "x"))))


@kind("always")
def _unlisted_file(it: Forger) -> None:
    names = ("x", "engine/evil.so", ".hidden", "golden/a/b/c", "a\nb", "engine/\x1b[2J", "portable/\u202egpj")
    path = it.bundle / it.rng.choice(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


@kind("always")
def _unlisted_folder(it: Forger) -> None:
    (it.bundle / it.rng.choice(("x", "engine/x", "golden/" + "d/" * 100))).mkdir(parents=True)


@kind("always")
def _link_in_place_of_a_file(it: Forger) -> None:
    path = it.file()
    copied = it.outside(f"copy{it.rng.random()}")
    shutil.copyfile(path, copied)
    target = it.rng.choice((str(copied), "/etc/passwd", "/dev/zero", path.name, "none"))
    path.unlink()
    path.symlink_to(target)


@kind("always")
def _link_in_place_of_a_folder(it: Forger) -> None:
    folder = it.bundle / it.rng.choice(("engine", "golden", "portable"))
    moved = it.outside(folder.name)
    shutil.move(folder, moved)
    folder.symlink_to(it.rng.choice((str(moved), "/", "..", ".", folder.name)))


@kind("always")
def _unlisted_link(it: Forger) -> None:
    path = it.bundle / it.rng.choice(("x", "engine/x"))
    path.symlink_to(it.rng.choice(("/", "..", "/etc/passwd", "x", "manifest.json")))


@kind("always")
def _hard_link_to_another_file(it: Forger) -> None:
    path = it.file()
    path.unlink()
    os.link(it.outside(), path)


@kind("always")
def _special_file(it: Forger) -> None:
    """A FIFO blocks whoever opens it; a device never ends."""
    path = it.rng.choice((it.file(), it.bundle / "x", it.bundle / "engine/x"))
    path.unlink(missing_ok=True)
    try:
        if it.rng.random() < 0.5:
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
            return
    except PermissionError:  # devices are root's to make
        pass
    os.mkfifo(path)


@kind("always")
def _folder_in_place_of_a_file(it: Forger) -> None:
    path = it.file()
    path.unlink()
    path.mkdir()


@kind("always")
def _file_in_place_of_a_folder(it: Forger) -> None:
    folder = it.bundle / it.rng.choice(("engine", "golden", "portable"))
    shutil.rmtree(folder)
    folder.write_bytes(b"x")


@kind("always")
def _another_spelling_of_the_manifest(it: Forger) -> None:
    """The same values in other bytes, with a digest that fits."""
    text, document = it.manifest.read_text(), it.read()
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: json.dumps(document).encode(),
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-32-be"),
        lambda: text.replace("\n", "\r\n").encode(),
        lambda: text.replace('"labels"', '"\\u006cabels"').encode(),
        lambda: text.replace('"target":', '"target": "other",\n "target":').encode(),
        (text + " ").encode,
        (text + text).encode,
    )
    it.manifest.write_bytes(it.rng.choice(ways)())


@kind("always")
def _manifest_that_is_no_json(it: Forger) -> None:
    text = it.manifest.read_text()
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: text.encode().replace(b'"labels"', b'"\xff\xfe"'),
        lambda: b"[" * 100_000,
        lambda: b'{"a":' * 100_000,
        lambda: b"9" * 100_000,
        lambda: b" " * (5 << 20),
        lambda: text.encode().replace(b'"threads": 0', b'"threads": ' + b"9" * 4000),
        lambda: text.encode().replace(b'"threads": 0', b'"threads": NaN'),
        lambda: text.encode().replace(b'"threads": 0', b'"threads": 1e999'),
        lambda: b"null",
    )
    it.manifest.write_bytes(it.rng.choice(ways)())
