from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from edgetl.data import Skipped, scan_folder
from edgetl.errors import InputError


def picture(path: Path, n: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (n, 0, 7)).save(path)
    return path


def layout(root: Path, *folders: str) -> Path:
    for n, folder in enumerate(folders):
        picture(root / folder / "1.png", 2 * n)
        picture(root / folder / "2.png", 2 * n + 1)
    return root


def splits(root: Path) -> list[tuple[str, str, int]]:
    scan = scan_folder(root)
    return [(f.split, f.path.relative_to(scan.root).as_posix(), f.label) for f in scan.folders]


def test_plain_layout_sorts_classes_as_text(tmp_path: Path) -> None:
    layout(tmp_path, "10", "9", "a", "B", "ä")
    assert scan_folder(tmp_path).classes == ("10", "9", "B", "a", "ä")


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_split_layout(tmp_path: Path, name: str) -> None:
    layout(tmp_path, "train/x", "train/y", f"{name}/x", f"{name}/y", "test/y", "test/x")
    assert splits(tmp_path) == [
        ("train", "train/x", 0), ("train", "train/y", 1), ("val", f"{name}/x", 0), ("val", f"{name}/y", 1),
        ("test", "test/x", 0), ("test", "test/y", 1),
    ]  # fmt: skip


def test_train_alone_is_a_plain_layout(tmp_path: Path) -> None:
    layout(tmp_path, "train/x", "train/y")
    assert splits(tmp_path) == [("", "train/x", 0), ("", "train/y", 1)]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    layout(tmp_path, "bus", "train", "val")
    (tmp_path / "val" / "1.png").unlink()
    (tmp_path / "val" / "2.png").unlink()
    (tmp_path / "val").rmdir()
    assert scan_folder(tmp_path).classes == ("bus", "train")


def test_stray_files_and_folders_are_listed(tmp_path: Path) -> None:
    layout(tmp_path, "train/x", "train/y", "val/x", "val/y", "extra")
    picture(tmp_path / "stray.png")
    (tmp_path / "train" / "labels.csv").write_text("x")
    assert scan_folder(tmp_path).stray == (
        Skipped("extra", "folder beside train/ is no split"),
        Skipped("stray.png", "not inside a class folder"),
        Skipped("train/labels.csv", "not inside a class folder"),
    )


def test_unlabelled_test_folder_is_not_used(tmp_path: Path) -> None:
    layout(tmp_path, "train/x", "train/y")
    picture(tmp_path / "test" / "1.png", 99)
    scan = scan_folder(tmp_path)
    assert {folder.split for folder in scan.folders} == {""}
    assert scan.stray == (Skipped("test/1.png", "not inside a class folder"),)
    assert scan.notes == ("test/ holds no class folders and is not used",)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    def message(root: Path) -> str:
        with pytest.raises(InputError) as caught:
            scan_folder(root)
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2
        return str(caught.value)

    case = tmp_path / "case"
    assert message(case) == f"{case} does not exist; check the path of the image folder"
    file = picture(tmp_path / "file.png")
    assert message(file) == f"{file} is a file; give the folder the images are in"
    case.mkdir()
    assert message(case) == f"{case} holds no class folders; put the images into {case}/<class>/"
    flat = picture(tmp_path / "flat" / "1.png").parent
    assert message(flat) == f"{flat} holds no class folders; put the images into {flat}/<class>/"
    one = layout(tmp_path / "one", "cat")
    assert message(one) == (
        f"{one} holds one class folder only, 'cat', and needs 2 or more; add another, "
        f"or give {one}/cat if the class folders are in there"
    )
    val_only = layout(tmp_path / "val_only", "val/x", "val/y", "test/x")
    assert message(val_only) == f"{val_only} holds test/, val/ but no train/; add a train/ folder"
    both = layout(tmp_path / "both", "train/x", "valid/x", "val/x")
    assert message(both) == "both val/ and valid/ are there; keep one of them"
    extra = layout(tmp_path / "extra", "train/x", "train/y", "val/x", "val/y", "val/z")
    rule = "every split needs the same class folders: add, rename or remove it"
    assert message(extra) == f"class 'z' is in val/ but not in train/; {rule}"
    fewer = layout(tmp_path / "fewer", "train/x", "train/y", "valid/x")
    assert message(fewer) == f"class 'y' is in train/ but not in valid/; {rule}"
    empty = layout(tmp_path / "empty", "train/x", "train/y")
    (empty / "val").mkdir()
    assert message(empty) == "val/ holds no class folders; put the images into val/<class>/"
    odd = layout(tmp_path / "odd", "a", "b\nc")
    assert message(odd) == "class folder 'b\\nc' has unprintable characters; rename it"
