"""What is removed and replaced: only what is ours, and what may be."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from napari_limn.errors import LimnError
from napari_limn.files import working
from napari_limn.files.working import (
    MARK,
    WorkingFolder,
    aside,
    discard,
    give_name,
    is_ours,
    refuse_foreign,
    remove,
    unfinished,
    whole_file,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")


def tree(path):
    """Content of a file, or of a folder by name; None where there is nothing."""
    if path.is_dir():
        return {one.name: tree(one) for one in path.iterdir()}
    return path.read_text() if path.exists() else None


def made(path, content):
    """A file, or a folder of files, with this content."""
    if isinstance(content, dict):
        path.mkdir()
        for name, text in content.items():
            made(path / name, text)
    elif content is not None:
        path.write_text(content)
    return path


FORMS = [None, "file", {"0": "chunk", "deeper": {"1": "chunk"}}]
FOREIGN = ["", "notes", {"thesis.txt": "all of it"}, {"deeper": {}}, {MARK: "of another program"}]


# ---- working folders -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("name", [unfinished, aside])
def test_what_is_not_ours_is_refused_in_a_sentence_and_stays(tmp_path, content, name):
    path = tmp_path / "cells.tif"
    other = made(name(path), content)
    for take in (refuse_foreign, lambda folder: WorkingFolder.claim(folder, path)):
        with pytest.raises(LimnError) as caught:
            take(other)
        assert str(caught.value).startswith(f"{other}: found a ")
        assert "\n" not in str(caught.value)
    assert tree(tmp_path) == {other.name: content}


@posix
@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_under_a_working_name_is_not_ours(tmp_path, target):
    folder = unfinished(tmp_path / "cells.tif")
    (tmp_path / "there").mkdir()
    folder.symlink_to(tmp_path / target)
    with pytest.raises(LimnError, match="move it away"):
        WorkingFolder.claim(folder, tmp_path / "cells.tif")
    assert folder.is_symlink()
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_folder_whose_run_was_killed_is_ours_however_much_of_the_mark_it_wrote(tmp_path, share):
    folder = tmp_path / "cells.tif.partial"
    WorkingFolder.claim(folder, tmp_path / "cells.tif").close()
    mark = (folder / MARK).read_bytes()
    (folder / MARK).write_bytes(mark[: int(share * len(mark))])
    made(folder / "0", "chunk")
    assert is_ours(folder)
    with WorkingFolder.claim(folder, tmp_path / "cells.tif") as work:
        assert (folder / MARK).read_bytes() == mark
        assert (folder / "0").exists()
        work.clear()
        assert tree(folder) == {MARK: mark.decode()}
    assert tree(tmp_path) == {}


def test_a_working_folder_has_one_run(tmp_path):
    path = tmp_path / "cells.tif"
    first = WorkingFolder.claim(unfinished(path), path)
    with pytest.raises(LimnError, match=r"cells\.tif: another run is writing it; wait"):
        WorkingFolder.claim(unfinished(path), path)
    first.close()
    WorkingFolder.claim(unfinished(path), path).remove()
    assert tree(tmp_path) == {}


def test_a_working_folder_that_was_moved_away_is_not_removed(tmp_path):
    path = tmp_path / "cells.tif"
    work = WorkingFolder.claim(unfinished(path), path)
    made(unfinished(path) / "0", "chunk")
    unfinished(path).rename(tmp_path / "kept")
    made(unfinished(path), {"thesis.txt": "all of it"})
    work.remove()
    assert tree(tmp_path)["cells.tif.partial"] == {"thesis.txt": "all of it"}
    assert tree(tmp_path)["kept"]["0"] == "chunk"


def test_a_working_folder_becomes_the_result_without_its_mark(tmp_path):
    path = tmp_path / "cells.zarr"
    work = WorkingFolder.claim(unfinished(path), path)
    made(work.path / "zarr.json", "{}")
    work.move_to(path, replace=False)
    assert tree(tmp_path) == {"cells.zarr": {"zarr.json": "{}"}}


# ---- names -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("old", FORMS)
@pytest.mark.parametrize("new", FORMS[1:])
@pytest.mark.parametrize("left", FORMS, ids=lambda form: f"left-{form}")
def test_what_is_new_takes_the_name_of_what_was(tmp_path, old, new, left):
    path = made(tmp_path / "labels", old)
    if left is not None:  # by a run that was killed
        WorkingFolder.claim(aside(path), path).close()
        made(aside(path) / "old", left)
    if isinstance(old, dict) and not isinstance(new, dict):
        with pytest.raises(OSError, match="directory|denied"):
            give_name(made(tmp_path / "new", new), path, replace=True)
        assert tree(path) == old
        return
    give_name(made(tmp_path / "new", new), path, replace=True)
    assert tree(tmp_path) == {"labels": new}


@pytest.mark.parametrize("old", [*FORMS[1:], ""])
@pytest.mark.parametrize("new", FORMS[1:])
@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_is_not_given(tmp_path, monkeypatch, old, new, links):
    if not links:
        without_links(monkeypatch)
    path, other = made(tmp_path / "labels", old), made(tmp_path / "new", new)
    with pytest.raises(FileExistsError):
        give_name(other, path, replace=False)
    assert tree(tmp_path) == {"labels": old, "new": new}


@pytest.mark.parametrize("new", FORMS[1:])
@pytest.mark.parametrize("links", [True, False])
def test_a_free_name_is_given(tmp_path, monkeypatch, new, links):
    if not links:
        without_links(monkeypatch)
    give_name(made(tmp_path / "new", new), tmp_path / "labels", replace=False)
    assert tree(tmp_path) == {"labels": new}


@posix
@pytest.mark.parametrize("new", FORMS[1:])
def test_a_link_that_leads_nowhere_has_a_name_too(tmp_path, new):
    (tmp_path / "labels").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        give_name(made(tmp_path / "new", new), tmp_path / "labels", replace=False)
    assert (tmp_path / "labels").is_symlink()


def without_links(monkeypatch):
    def none(source, path):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(working.os, "link", none)


@pytest.mark.parametrize("new", FORMS[1:])
def test_of_a_replacement_that_fails_the_old_one_stays(tmp_path, monkeypatch, new):
    path = made(tmp_path / "labels", {"0": "chunk"})
    other = made(tmp_path / "new", new)

    def refuse(source, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(
        working,
        "_rename_new",
        lambda source, target: refuse(source, target) if source == other else source.rename(target),
    )
    monkeypatch.setattr(type(path), "replace", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        give_name(other, path, replace=True)
    assert tree(path) == {"0": "chunk"}
    assert tree(other) == new


@pytest.mark.parametrize("content", FORMS[1:])
def test_a_part_is_discarded(tmp_path, content):
    discard(made(tmp_path / "labels.partial", content), tmp_path / "labels")
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("content", FORMS)
def test_whatever_is_there_is_removed(tmp_path, content):
    remove(made(tmp_path / "labels", content))
    assert tree(tmp_path) == {}


@posix
def test_of_a_linked_folder_only_the_link_is_removed(tmp_path):
    folder = made(tmp_path / "data", {"0": "chunk"})
    (tmp_path / "labels").symlink_to(folder)
    remove(tmp_path / "labels")
    assert tree(tmp_path) == {"data": {"0": "chunk"}}


# ---- files -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, replace, fails):
    path = made(tmp_path / "m.limn", "old" if replace else None)

    def write():
        with whole_file(path, replace=replace) as file:
            file.write(b"new")
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            write()
    else:
        write()
    before = {"m.limn": "old"} if replace else {}
    assert tree(tmp_path) == (before if fails else {"m.limn": "new"})


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "m.limn"

    def write():
        with whole_file(path, replace=False) as file:
            file.write(b"new")
            made(path, "of another")

    with pytest.raises(LimnError, match=r"m\.limn: exists already"):
        write()
    assert tree(tmp_path) == {"m.limn": "of another"}


@posix
def test_a_file_gets_the_permissions_of_any_new_file(tmp_path):
    with whole_file(tmp_path / "one"):
        pass
    made(tmp_path / "two", "")
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "two").stat().st_mode
