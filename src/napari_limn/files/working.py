"""Where work in progress lies, and how results get names.

A name says nothing about who made a file. So whatever a run needs until its result is whole lies in a working folder that
carries a mark, and which the run locks; what has no mark is neither removed nor written over. A result is given its name
without replacing anything, unless it may replace what is there. See docs/design/0004-outputs-and-resuming.md.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.files.durable import open_alone, sync_folder

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

MARK = ".limn-working"
"""Name of the file that marks a working folder; it is locked while a run works there."""

_MARKED = b"napari-limn works in this folder, and removes it when its work is done.\n"
_OLD = "old"  # in the folder of what is being replaced
_NO_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EMLINK,
    errno.EINVAL,
)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def unfinished(path: Path) -> Path:
    """Return the working folder of the output `path`."""
    return path.with_name(path.name + ".partial")


def aside(path: Path) -> Path:
    """Return the folder where what `path` replaces waits to be removed.

    Its own name is gone in one step.
    """
    return path.with_name(path.name + ".replaced")


def is_there(path: Path) -> bool:
    """Say whether a name is taken, also by a broken link."""
    return os.path.lexists(path)


def is_ours(folder: Path) -> bool:
    """Say whether a folder is a working folder: marked, or empty."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    mark = folder / MARK
    if mark.is_file() and not mark.is_symlink():
        return _MARKED.startswith(mark.read_bytes()[: len(_MARKED) + 1])  # a crash may have cut it off
    return next(folder.iterdir(), None) is None


def refuse_foreign(folder: Path) -> None:
    """Refuse to work where something lies that is not ours.

    Raises
    ------
    LimnError
        If there is anything of that name but a working folder.
    """
    if is_there(folder) and not is_ours(folder):
        what = "folder" if folder.is_dir() else "file"
        raise LimnError(
            f"{folder}: found a {what} that this version did not make, under the name that it works under; "
            "move it away, or choose another name for the output."
        )


class WorkingFolder:
    """A marked folder for one run; make one with :meth:`claim`.

    Attributes
    ----------
    path
        Of the folder.
    """

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self.path, self._file = path, file

    @classmethod
    def claim(cls, path: Path, output: Path, *, known: bool = False) -> WorkingFolder:
        """Take a folder for this run, with what lies there.

        It is made where there is none.

        Parameters
        ----------
        path
            Of the folder.
        output
            What is made there, to be named in errors.
        known
            Whether the folder is ours even without a mark.

        Raises
        ------
        LimnError
            If it is not ours, or another run has it.
        """
        while True:
            try:
                path.mkdir()
            except FileExistsError:
                if not known:
                    refuse_foreign(path)
            try:
                file = open_alone(path / MARK)
            except FileNotFoundError:  # the run that had it came to its end meanwhile
                continue
            if file is None:
                raise LimnError(
                    f"{output}: another run is writing it; wait for that one, or choose another name."
                )
            if file.read() != _MARKED:
                file.seek(0)
                file.truncate()
                file.write(_MARKED)
                os.fsync(file.fileno())
                sync_folder(path)
            return cls(path, file)

    def clear(self) -> None:
        """Remove what is in the folder; the mark stays."""
        for entry in self.path.iterdir():
            if entry.name != MARK:
                remove(entry)

    def move_to(self, path: Path, *, replace: bool) -> None:
        """Let the folder be the result `path`; see :func:`give_name`."""
        if os.name == "nt":
            self.close()  # no folder can be moved there with an open file in it
        give_name(self.path, path, replace=replace)
        self.close()
        unmark(path)

    def remove(self) -> None:
        """Remove the folder; the mark goes last."""
        if is_there(self.path / MARK):
            self.clear()
            if os.name == "nt":
                self.close()
            unmark(self.path)
            with suppress(OSError):  # another run has it by now
                self.path.rmdir()
        self.close()

    def close(self) -> None:
        """Leave the folder to other runs, with all that is in it."""
        self._file.close()

    def __enter__(self) -> WorkingFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def unmark(folder: Path) -> None:
    """Remove the mark of a working folder, if it is there."""
    (folder / MARK).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard(thing: Path, output: Path) -> None:
    """Remove a part of an output.

    Its own name is gone in one step.
    """
    with WorkingFolder.claim(aside(output), output) as old:
        old.clear()
        thing.rename(old.path / _OLD)
        sync_folder(output.parent)


def clear_aside(path: Path) -> None:
    """Remove what `path` has replaced, where a killed run left it."""
    if is_there(aside(path)) and is_ours(aside(path)):
        WorkingFolder.claim(aside(path), path).remove()


def give_name(new: Path, path: Path, *, replace: bool) -> None:
    """Give a file or folder the name of the result, durably.

    Parameters
    ----------
    new
        What is whole, in the same file system.
    path
        The name that it gets.
    replace
        Whether a thing of that name may go, a folder only for another. It goes only when the new one is there.

    Raises
    ------
    FileExistsError
        If something has that name that may not go. `new` stays where it is.
    """
    if not (replace and is_there(path)):
        _rename_new(new, path)
    elif new.is_dir():
        _exchange(new, path)
    else:
        new.replace(path)
    sync_folder(path.parent)
    clear_aside(path)


def _exchange(new: Path, path: Path) -> None:
    """Replace what no system call replaces in one step."""
    old = WorkingFolder.claim(aside(path), path)
    try:
        old.clear()
        path.rename(old.path / _OLD)
        try:
            _rename_new(new, path)
        except OSError:
            with suppress(OSError):
                _rename_new(old.path / _OLD, path)
            raise
    finally:
        old.close()


def _rename_new(new: Path, path: Path) -> None:
    """Rename, and replace nothing."""
    if os.name == "nt":
        new.rename(path)  # replaces nothing there
    elif new.is_dir():
        _rename_folder(new, path)
    else:
        _rename_file(new, path)


def _rename_folder(new: Path, path: Path) -> None:
    if is_there(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        new.rename(path)  # at most an empty folder would be replaced
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        raise


def _rename_file(new: Path, path: Path) -> None:
    try:
        os.link(new, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the name is ours from here on
        new.replace(path)
    else:
        new.unlink()


@contextmanager
def whole_file(path: Path, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """Write a file that has its name only when whole.

    It is on the disk then.

    Raises
    ------
    LimnError
        If there is something of that name, and it may not be replaced.
    """
    new = path.with_name(f".limn-{secrets.token_hex(4)}")  # short: a long name has no room for more
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(new, flags, 0o666), "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        give_name(new, path, replace=replace)
    except FileExistsError as error:
        raise LimnError(f"{path}: exists already; choose another name, or say --overwrite.") from error
    finally:
        new.unlink(missing_ok=True)
