"""Archives as they lie on disks: dead links, loops, linked folders, foreign names, folders that nobody may read."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest
from archive_world import analyse, portrait, rows

from emotion_perception.archive.recordings import find_recordings
from emotion_perception.archive.store import Store
from emotion_perception.cli import archive, recognize


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), portrait(0.1)[0])
    return folder


def found_names(*paths: Path) -> list[str]:
    return [Path(r.path).name for r in find_recordings([str(path) for path in paths]).recordings]


def test_dead_links_and_loops_are_named_and_the_rest_is_analysed(shop: Path, tmp_path: Path, capsys):
    (shop / "gone.mp4").symlink_to("/nowhere/clip.mp4")
    (shop / "self.mp4").symlink_to("self.mp4")
    (shop / "above").symlink_to("..")
    (shop / "cam1").symlink_to("/media/not_mounted")
    assert archive.main(["analyse", str(shop), "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert "1 recordings analysed" in said.out
    assert f"{shop}/gone.mp4: a link to /nowhere/clip.mp4: No such file or directory" in said.err
    assert f"{shop}/self.mp4: a link to self.mp4: Too many levels of symbolic links" in said.err
    assert f"{shop}/cam1: a link to /media/not_mounted: No such file or directory" in said.err
    assert [marker["status"] for marker in Store(tmp_path / "out").markers()] == ["done"]


def test_linked_folder_is_searched_once_and_under_its_own_path_if_there_is_one(shop: Path, tmp_path: Path):
    inside, outside = shop / "z_cam1", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / f"{folder.name}.mp4").write_bytes(b"x")
    for name in ("link", "link_again"):
        (shop / name).symlink_to(outside)
    (shop / "link_inside").symlink_to(inside)
    (outside / "back").symlink_to(shop)
    found = find_recordings([str(shop)])
    places = [(str(Path(r.path).relative_to(shop)), r.place) for r in found.recordings]
    assert places == [("a.jpg", "shop"), ("link/elsewhere.mp4", "link"), ("z_cam1/z_cam1.mp4", "z_cam1")]
    assert found.unreadable == ()


def test_names_that_are_not_utf_8_are_analysed_and_shown_escaped(shop: Path, tmp_path: Path, capsys):
    odd = os.fsencode(shop) + b"/caf\xe9"
    os.mkdir(odd)
    (shop / "a.jpg").rename(os.fsdecode(odd + b"/\xfc.jpg"))
    tally, _ = analyse(tmp_path / "out", shop)
    assert (tally.done, tally.troubles) == (1, {})
    again, _ = analyse(tmp_path / "out", shop)
    assert (again.done, again.done_before) == (0, 1)
    assert {(row["path"], row["place"]) for row in rows(tmp_path / "out")} == {
        (f"{shop}/caf\\xe9/\\xfc.jpg", "caf\\xe9")
    }
    assert recognize.main([os.fsdecode(odd + b"/\xfc.jpg")]) == 0
    assert "caf\\\\xe9/\\\\xfc.jpg" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "code"), [("private", 1), ("lost+found", 0)])
def test_folder_that_may_not_be_read_is_named(shop: Path, tmp_path: Path, capsys, monkeypatch, name: str, code: int):
    (shop / name).mkdir()
    scan = os.scandir

    def scandir(path):
        if os.fspath(path).endswith(name):  # as root, nothing is refused
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr("emotion_perception.archive.recordings.os.scandir", scandir)
    assert archive.main(["analyse", str(shop), "--out", str(tmp_path / "out"), "--workers", "1"]) == code
    said = capsys.readouterr()
    assert f"{shop}/{name}: Permission denied" in said.err and "1 recordings analysed" in said.out


def test_files_that_are_no_media_are_counted_by_suffix(shop: Path):
    for name in ("b.txt", "c.TXT", "d.pdf", "README", "e.heic", "f.jp2", "g.avif"):
        (shop / name).write_bytes(b"x")
    found = find_recordings([str(shop)])
    assert found.other == {".txt": 2, ".pdf": 1, "no suffix": 1} and found.passed_over == 4
    assert found_names(shop) == ["a.jpg", "e.heic", "f.jp2", "g.avif"]
