"""The locks of Windows, played on other systems."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from napari_limn.files import durable


def windows_locks(monkeypatch):
    """As on Windows: locks on bytes, of whoever opened the file; played by those of Linux that are most like them."""
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_OFD_SETLK"):
        pytest.skip("this system has no locks of that kind")

    def locking(handle, mode, count):
        assert mode == 2
        at = os.lseek(handle, 0, os.SEEK_CUR)
        try:
            fcntl.fcntl(
                handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, at, count, 0)
            )
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error

    monkeypatch.setattr(durable, "_locked", lambda file: durable.lock_byte(file, locking, 2))
