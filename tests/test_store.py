from __future__ import annotations

import errno
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgetl.errors import EdgetlError, InputError
from edgetl.store import Entry, Store, default_root

Make = Callable[[Path], Mapping[str, Any]]


def writer(text: str = "x", calls: list[str] | None = None, **facts: Any) -> Make:
    def make(folder: Path) -> Mapping[str, Any]:
        if calls is not None:
            calls.append(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "f").write_text(text)
        return facts

    return make


def never(folder: Path) -> Mapping[str, Any]:
    raise AssertionError(f"made again in {folder}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_made_once_and_found_again(store: Store) -> None:
    first = store.get("kind", {"a": 1}, writer("x", n=(1, 2)))
    again = Store(store.root).get("kind", {"a": 1}, never)
    assert first.fresh and not again.fresh
    assert again.file("sub/f").read_text() == "x" and again.digest == first.digest
    assert dict(again.facts) == dict(first.facts) and first.facts["n"] == [1, 2]
    assert first.facts["seconds"] >= 0


def test_key_depends_on_kind_and_every_part(store: Store) -> None:
    parts: list[tuple[str, dict[str, Any]]] = [
        ("k", {"a": 1}),
        ("k", {"a": 2}),
        ("k", {"b": 1}),
        ("l", {"a": 1}),
    ]
    assert len({store.key(kind, value) for kind, value in parts}) == 4
    assert store.key("k", {"a": 1, "b": 2}) == store.key("k", {"b": 2, "a": 1})


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "own"))
    assert default_root() == tmp_path / "own"
    monkeypatch.delenv("EDGETL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "edgetl"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError("odd")])
def test_a_make_that_raises_leaves_nothing(store: Store, error: BaseException) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("x")
        raise error

    with pytest.raises(type(error)):
        store.get("kind", {}, make)
    assert list((store.root / "tmp").iterdir()) == [] and store.find("kind", {}) is None
    assert store.get("kind", {}, writer()).fresh


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_disk_full_is_one_line(store: Store, number: int) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        raise OSError(number, os.strerror(number))

    with pytest.raises(EdgetlError) as caught:
        store.get("kind", {}, make)
    assert str(store.root) in str(caught.value) and "\n" not in str(caught.value)
    assert list((store.root / "tmp").iterdir()) == []


def test_an_unreadable_input_is_not_blamed_on_the_cache(store: Store) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        raise PermissionError(errno.EACCES, "Permission denied", "/images/a.jpg")

    with pytest.raises(PermissionError):
        store.get("kind", {}, make)


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="EDGETL_CACHE"):
        Store(tmp_path / "file")


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize(("mode", "expected"), [(0o777, "opened"), (0o555, "InputError")])
def test_unwritable_root(made: bool, mode: int, expected: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        root = Path(name) / "root"
        root.mkdir()
        if made:
            Store(root)
        folders = [root, *root.iterdir()]
        for folder in folders:
            folder.chmod(mode)
        try:
            assert _as_nobody(root) == expected
        finally:
            for folder in folders:
                folder.chmod(0o755)


def _as_nobody(root: Path) -> str:
    """What opening the store raises for a user whom permissions bind."""
    if os.geteuid() != 0:
        return _opening(root)
    with multiprocessing.get_context("fork").Pool(1, os.setuid, (65534,)) as pool:
        return str(pool.apply(_opening, (root,)))


def _opening(root: Path) -> str:
    try:
        Store(root)
    except Exception as error:
        return type(error).__name__
    return "opened"


def _slow_get(root: Path, log: Path) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        with log.open("a") as handle:
            handle.write(f"{os.getpid()}\n")
        time.sleep(0.2)
        (folder / "f").write_text("x")
        return {}

    entry = Store(root).get("kind", {"a": 1}, make)
    assert entry.file("f").read_text() == "x"


def test_several_processes_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    root, log = tmp_path / "store", tmp_path / "log"
    workers = [context.Process(target=_slow_get, args=(root, log)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert len(log.read_text().splitlines()) == 1
    assert list((root / "tmp").iterdir()) == []


def _die_making(root: Path) -> None:
    def make(folder: Path) -> Mapping[str, Any]:
        (folder / "half").write_text("x")
        os.kill(os.getpid(), 9)
        return {}

    Store(root).get("kind", {}, make)


def test_what_a_killed_process_left_is_swept(store: Store) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_die_making, args=(store.root,))
    worker.start()
    worker.join(30)
    assert worker.exitcode == -9 and len(list((store.root / "tmp").iterdir())) == 1
    alive = store.root / "tmp" / f"{socket.gethostname()}.{os.getpid()}.abc"
    elsewhere = store.root / "tmp" / "another-host.1.abc"
    alive.mkdir()
    elsewhere.mkdir()
    Store(store.root)
    assert set((store.root / "tmp").iterdir()) == {alive, elsewhere}
    assert store.get("kind", {}, writer()).fresh  # the dead process's lock is gone


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def _damages(entry: Entry) -> list[Callable[[], object]]:
    manifest = entry.file("entry.json")
    data = manifest.read_bytes()
    return [
        lambda: _flip(entry.file("sub/f"), 0),
        lambda: entry.file("sub/f").unlink(),
        manifest.unlink,
        lambda: manifest.write_bytes(data[: len(data) // 2]),
        lambda: manifest.write_bytes(b""),
        lambda: manifest.write_bytes(b"[]"),
        lambda: manifest.write_bytes(b"null"),
        lambda: manifest.write_bytes(data.replace(b'"facts"', b'"fakts"')),
        lambda: manifest.write_bytes(data.replace(b"0.125", b"0.625")),
    ]


@pytest.mark.parametrize("number", range(9))
def test_a_damaged_entry_is_dropped_and_made_again(store: Store, number: int) -> None:
    entry = store.get("kind", {}, writer("x", share=0.125))
    _damages(entry)[number]()
    assert store.find("kind", {}) is None and not entry.path.exists()
    again = store.get("kind", {}, writer("x", share=0.125))
    assert again.fresh and again.facts["share"] == 0.125
    assert not store.get("kind", {}, never).fresh


def test_every_flipped_byte_of_the_manifest_is_noticed(store: Store) -> None:
    entry = store.get("kind", {"a": 1}, writer("x", share=0.125))
    whole = entry.file("entry.json").read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1
        entry.path.mkdir(parents=True, exist_ok=True)
        (entry.path / "sub").mkdir(exist_ok=True)
        entry.file("sub/f").write_text("x")
        entry.file("entry.json").write_bytes(data)
        found = store.find("kind", {"a": 1})
        assert found is None or (found.facts, found.digests) == (entry.facts, entry.digests), place


def test_collect_drops_the_least_recently_used(store: Store) -> None:
    entries = {name: store.get("kind", {"n": name}, writer(name * 1000)) for name in "abc"}
    for age, name in enumerate("cab"):  # b is the oldest but one will be used
        os.utime(entries[name].path, (1000 - age, 1000 - age))
    assert store.find("kind", {"n": "b"}) is not None
    size = sum(path.stat().st_size for path in entries["a"].path.rglob("*") if path.is_file())
    removed, freed = store.collect(2 * size + size // 2)
    assert removed == 1 and freed == pytest.approx(size, abs=20)
    left = [name for name in "abc" if store.find("kind", {"n": name})]
    assert left == ["b", "c"]
    assert store.collect(0)[0] == 2 and store.usage()["kind"] == (0, 0)


def test_usage_counts_by_kind(store: Store) -> None:
    store.get("one", {}, writer())
    store.get("two", {}, writer())
    store.get("two", {"a": 1}, writer())
    assert {kind: count for kind, (count, _) in store.usage().items()} == {"one": 1, "two": 2}


def test_entries_of_a_kind(store: Store) -> None:
    for number in range(3):
        entry = store.get("kind", {"n": number}, writer(str(number)))
        os.utime(entry.path, (number + 1, number + 1))
    assert [entry.file("sub/f").read_text() for entry in store.entries("kind")] == ["0", "1", "2"]
    assert json.loads(json.dumps([entry.key for entry in store.entries("none")])) == []
