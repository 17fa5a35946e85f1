"""Files that outlive a crash.

What is said to be on disk is on disk, and what goes wrong there is said in a sentence.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOCKED_AT = (1 << 31) - (1 << 16)  # as far as the C library of Windows can name a place
_TAKEN = (errno.EACCES, errno.EDEADLK, errno.EAGAIN)
_RESUME = "what was finished stays, and the same command goes on from there"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PROBE = 1 << 20  # bytes that a disk is asked to take after an error that says nothing
_FIXES = {
    errno.EFBIG: "the file is larger than the disk or your limits allow; choose another disk, or raise the limit",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "your quota on this disk is used up; make room",
    errno.EROFS: "the disk is read-only; make it writable",
    errno.EACCES: "writing is not permitted; change the permissions",
    errno.EPERM: "writing is not permitted; change the permissions",
}


@contextmanager
def disk_faults(path: Path, then: str = _RESUME) -> Iterator[None]:
    """Turn a disk's fault into one sentence about `path`.

    A disk that is full, read-only or forbidden; `then` says what becomes of the work. Libraries report such faults as errors of any
    type, so what they were raised from counts, and if that says nothing, whether the disk still takes a file.

    Raises
    ------
    LimnError
        For the faults that a user can fix; any other error passes through.
    """
    try:
        yield
    except LimnError:
        raise
    except Exception as error:
        if (number := _fault_of(error, path)) is None:
            raise
        raise LimnError(f"{path}: {_FIXES[number]}: {then}.") from error


def _fault_of(error: Exception, path: Path) -> int | None:
    """Return the number of the disk's fault behind an error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _FIXES else None
    behind: BaseException | None = error
    seen = set[int]()
    while behind is not None and id(behind) not in seen:
        if isinstance(behind, OSError) and behind.errno in _FULL:
            return behind.errno
        seen.add(id(behind))
        behind = behind.__cause__ or behind.__context__
    return _probed(path.parent)


def _probed(folder: Path) -> int | None:
    """Return why a disk takes no file; None if it does."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno if error.errno in _FULL else None
    return None


@contextmanager
def on_failure(undo: Callable[[], object]) -> Iterator[None]:
    """Call `undo` if this block fails or is broken off.

    The error passes through.
    """
    with ExitStack() as stack:
        stack.callback(undo)
        yield
        stack.pop_all()


def open_alone(path: Path) -> io.FileIO | None:
    """Open a file with a lock; None if another writer has it.

    For reading and writing.

    The file is made if there is none. Where a file system has no locks, several writers are not noticed.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b", 0)
        if not _locked(file):
            file.close()
            return None
        if is_at(file, path):
            return file
        file.close()  # it was replaced while we waited for it


def _locked(file: io.FileIO) -> bool:
    """Lock an open file for this writer; False if another has it.

    Closing the file gives the lock back.
    """
    if sys.platform == "win32":
        return lock_byte(file, msvcrt.locking, msvcrt.LK_NBLCK)
    else:  # noqa: RET505 - mypy looks at one branch a system
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True


def lock_byte(file: io.FileIO, locking: Callable[[int, int, int], object], mode: int) -> bool:
    """Lock one byte of a file, as Windows does.

    False if another writer has it.

    What is locked there cannot be read by others either, so it is no byte that a file has. The system's function comes in from
    outside, so that this is tested on other systems; it has not been run on Windows.

    Parameters
    ----------
    file
        The file, which stands at its beginning afterwards.
    locking, mode
        ``msvcrt.locking`` and its mode for one try; it locks from where the file stands.
    """
    file.seek(_LOCKED_AT)
    try:
        locking(file.fileno(), mode, 1)
    except OSError as error:  # of a file system without locks it is another one
        return error.errno not in _TAKEN
    finally:
        file.seek(0)
    return True


def state_of(path: Path) -> str:
    """Describe an output, so that another in its place is noticed.

    By the files of a file or folder, and their sizes.
    """
    inside = (entry for entry in path.rglob("*") if entry.is_file() and not entry.name.startswith("."))
    entries = sorted(inside) if path.is_dir() else [path]
    rows = (f"{entry.relative_to(path).as_posix()} {entry.stat().st_size}" for entry in entries)
    return fingerprint("\n".join(rows).encode())


def fingerprint(content: bytes) -> str:
    """Return sixteen letters that identify contents.

    They are the first 64 bits of its SHA-256.
    """
    return sha256(content).hexdigest()[:16]


def is_at(file: io.FileIO, path: Path) -> bool:
    """Return whether an open file still has this name.

    As far as can be known: it may have been moved, removed or replaced.
    """
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # of a disk that only answers about what is open
        return True


def append_line(file: io.FileIO, line: bytes, *, sync: bool = True) -> None:
    """Write a line where the file stands, or nothing of it.

    With `sync`, it is on the disk itself when this returns.

    Raises
    ------
    OSError
        If the disk refuses; one that takes only a part of the line is full.
    """
    end = file.tell()
    try:
        _write_whole(file, line)
        if sync:
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(end)  # a later line must not follow half a line
            file.seek(end)
        raise


def _write_whole(file: io.FileIO, line: bytes) -> None:
    if file.write(line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_file(path: Path) -> None:
    """Wait until a file is on the disk itself.

    Nothing happens where there is no such file.
    """
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Windows knows no such thing.
    """
    if os.name == "nt" or not path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_up(folder: Path, top: Path) -> None:
    """Wait until a folder is on the disk.

    With all the folders on the way down to it from `top`.
    """
    for above in (folder, *folder.parents):
        sync_folder(above)
        if above == top:
            return
