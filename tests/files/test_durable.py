from __future__ import annotations

import errno
import os
import sys

import pytest
from locks import windows_locks

from napari_limn.errors import LimnError
from napari_limn.files import durable
from napari_limn.files.durable import (
    append_line,
    disk_faults,
    is_at,
    lock_byte,
    on_failure,
    open_alone,
    sync_file,
    sync_up,
)


@pytest.fixture
def synced(monkeypatch):
    """What was waited for, by name, in order."""
    names = []
    monkeypatch.setattr(
        durable.os,
        "fsync",
        lambda handle: names.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))),
    )
    return names


on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="open files are named in /proc")


class Disk:
    """A file whose writes go wrong as told: takes at most `room` bytes, or raises."""

    def __init__(self, file, room=None, error=None):
        self.file, self.room, self.error = file, room, error

    def write(self, line):
        if self.error:
            self.file.write(line[:3])
            raise OSError(self.error, os.strerror(self.error))
        return self.file.write(line[: self.room])

    def __getattr__(self, name):
        return getattr(self.file, name)


# ---- faults ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; make room"),
        (errno.EDQUOT, "your quota on this disk is used up; make room"),
        (errno.EROFS, "the disk is read-only; make it writable"),
        (errno.EACCES, "writing is not permitted; change the permissions"),
        (errno.EPERM, "writing is not permitted; change the permissions"),
    ],
)
def test_a_fault_of_the_disk_is_one_sentence(tmp_path, number, words):
    path = tmp_path / "labels.tif"
    with pytest.raises(LimnError) as caught, disk_faults(path, "nothing is lost"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"{path}: {words}: nothing is lost."
    assert caught.value.__cause__.errno == number


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error"), OSError("no number"), KeyError("x"), KeyboardInterrupt()],
)
def test_any_other_error_passes_through(tmp_path, error):
    with pytest.raises(type(error)) as caught, disk_faults(tmp_path / "labels.tif"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("kind", [RuntimeError, OSError, ValueError])
def test_a_full_disk_is_known_behind_an_error_of_another_kind(tmp_path, number, kind):
    with (
        pytest.raises(LimnError, match="nothing more") as caught,
        disk_faults(tmp_path / "m.limn", "nothing more"),
    ):
        raise kind("unexpected pos 89984 vs 89880") from OSError(number, os.strerror(number))
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize("kind", [RuntimeError, OSError])
def test_an_error_that_says_nothing_has_the_disk_asked(tmp_path, monkeypatch, kind):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(LimnError, match="the disk is full"), disk_faults(tmp_path / "m.limn"):
        raise kind("99840 requested and 0 written")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), GeneratorExit()])
def test_what_failed_is_undone_once_and_the_error_passes(error):
    undone = []
    with pytest.raises(type(error)) as caught, on_failure(lambda: undone.append(1)):
        raise error
    assert caught.value is error
    assert undone == [1]


def test_what_succeeds_is_not_undone():
    undone = []
    with on_failure(lambda: undone.append(1)):
        pass

    def returning():
        with on_failure(lambda: undone.append(1)):
            return "whole"

    assert returning() == "whole"
    assert undone == []


# ---- one writer ------------------------------------------------------------------------------------------------------
@pytest.fixture(params=["own", "windows"])
def locks(request, monkeypatch):
    """The locks of this system, and those of Windows."""
    if request.param == "windows":
        windows_locks(monkeypatch)


@pytest.mark.usefixtures("locks")
def test_a_file_has_one_writer(tmp_path):
    path = tmp_path / "run.jsonl"
    with open_alone(path) as first:
        first.write(b"one\n")
        assert open_alone(path) is None
    with open_alone(path) as second:
        assert second.read() == b"one\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open is not replaced there")
def test_a_file_that_was_replaced_before_it_could_be_locked_is_opened_anew(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"old\n")
    lock, turns = durable.fcntl.flock, []

    def replacing(file, how):
        if not turns:
            turns.append(1)
            (tmp_path / "new").write_bytes(b"new\n")
            (tmp_path / "new").replace(path)
        lock(file, how)

    monkeypatch.setattr(durable.fcntl, "flock", replacing)
    with open_alone(path) as file:
        assert file.read() == b"new\n"


@pytest.mark.usefixtures("locks")
def test_a_lock_neither_moves_nor_lengthens_a_file_nor_keeps_readers_out(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"one\n")
    with open_alone(path) as file:
        assert file.tell() == 0
        assert path.read_bytes() == b"one\n"
        file.seek(0, 2)
        append_line(file, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EINVAL, errno.ENOSYS])
def test_a_disk_of_windows_without_locks_does_not_stop_anybody(tmp_path, code):
    def none(handle, mode, count):
        raise OSError(code, "no locks")

    with (tmp_path / "run.jsonl").open("w+b", buffering=0) as file:
        assert lock_byte(file, none, 2)
        assert file.tell() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks there")
def test_a_file_system_without_locks_does_not_stop_anybody(tmp_path, monkeypatch):
    def none(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(durable.fcntl, "flock", none)
    with open_alone(tmp_path / "run.jsonl") as file:
        assert file.write(b"one\n") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open is not moved there")
def test_an_open_file_that_was_moved_or_replaced_or_removed_is_not_there_any_more(tmp_path):
    path, away = tmp_path / "run.jsonl", tmp_path / "away"
    with open_alone(path) as file:
        assert is_at(file, path)
        path.rename(away)
        assert not is_at(file, path)
        assert is_at(file, away)
        path.touch()
        assert not is_at(file, path)
        away.replace(path)
        assert is_at(file, path)
        path.unlink()
        assert not is_at(file, path)


# ---- lines -----------------------------------------------------------------------------------------------------------
def test_lines_follow_each_other(tmp_path):
    path = tmp_path / "run.jsonl"
    with open_alone(path) as file:
        append_line(file, b"one\n")
        append_line(file, b"two\n", sync=False)
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("fault", [{"room": 2}, {"error": errno.EIO}])
def test_of_a_line_that_does_not_fit_nothing_stays(tmp_path, fault):
    path = tmp_path / "run.jsonl"
    with open_alone(path) as file:
        append_line(file, b"one\n")
        with pytest.raises(OSError) as caught:
            append_line(Disk(file, **fault), b"second\n")
        assert caught.value.errno == fault.get("error", errno.ENOSPC)
        append_line(file, b"third\n")
    assert path.read_bytes() == b"one\nthird\n"


def test_a_line_that_cannot_be_made_durable_is_taken_back(tmp_path, monkeypatch):
    def refuse(handle):
        raise OSError(errno.EIO, "Input/output error")

    path = tmp_path / "run.jsonl"
    with open_alone(path) as file:
        append_line(file, b"one\n")
        monkeypatch.setattr(durable.os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            append_line(file, b"two\n")
    assert path.read_bytes() == b"one\n"


# ---- what is on the disk itself --------------------------------------------------------------------------------------
@on_linux
def test_only_lines_that_are_to_be_durable_are_waited_for(tmp_path, synced):
    with open_alone(tmp_path / "run.jsonl") as file:
        append_line(file, b"one\n", sync=False)
        assert synced == []
        append_line(file, b"two\n")
    assert synced == ["run.jsonl"]


@on_linux
def test_folders_are_waited_for_up_to_the_top(tmp_path, synced):
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    sync_up(deep, tmp_path / "a")
    assert synced == ["c", "b", "a"]


@on_linux
def test_a_file_that_is_not_there_is_not_waited_for(tmp_path, synced):
    sync_file(tmp_path / "none")
    (tmp_path / "some").touch()
    sync_file(tmp_path / "some")
    assert synced == ["some"]


def test_where_a_disk_does_not_say_an_open_file_counts_as_there(tmp_path):
    class Silent(type(tmp_path)):
        def stat(self, **kwargs):
            raise PermissionError(errno.EACCES, "Permission denied")

    with open_alone(tmp_path / "run.jsonl") as file:
        assert is_at(file, Silent(tmp_path / "run.jsonl"))
