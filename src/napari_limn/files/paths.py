"""Which names of files may be opened at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from napari_limn.errors import LimnError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one letter before the colon is a drive of Windows
_UNFIT = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff<>:"/\\|?*]')  # in the name of a file, on some system
LONGEST = 180
"""Bytes of a name that is made of a text; systems store 255, and something may come behind."""
_NO_FILES = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refuse_no_file(source: str | os.PathLike[str]) -> Path:
    """Return the path, unless nothing can be read there.

    Whether one is there is not asked. A pipe would be waited for without an end, and an address is none of this computer.

    Raises
    ------
    LimnError
        For an address, an empty name, a pipe, a socket, a device, and a link that leads nowhere.

    Examples
    --------
    >>> refuse_no_file("image.tif").name
    'image.tif'
    """
    text = str(source)
    if not text or "\0" in text:
        raise LimnError(f"found {text!r} as the name of a file, expected a path; choose a file or folder.")
    if is_address(text):
        raise LimnError(
            f"{text}: found an address, expected a file or folder of this computer; copy it to a disk first."
        )
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            raise LimnError(
                f"{path}: found a link that leads to no file ({path.readlink()}), expected a file or folder; choose the file itself."
            ) from error
        return path
    if special := _NO_FILES.get(stat.S_IFMT(mode)):
        raise LimnError(
            f"{path}: found {special}, expected a file or folder; save its content as a file first."
        )
    return path


def file_name_for(text: str) -> str:
    """Return a name like a text that every system can store.

    Examples
    --------
    >>> file_name_for("//host/share/a: b"), file_name_for("..")
    ('__host_share_a_ b', 'unnamed')
    """
    name = _UNFIT.sub("_", text).strip(". ")
    while len(os.fsencode(name)) > LONGEST:
        name = name[:-1]
    return name or "unnamed"


def is_address(text: str) -> bool:
    """Return whether a text is an address such as ``https://…``.

    Examples
    --------
    >>> is_address("s3://bucket/a.zarr"), is_address("C:/a.zarr"), is_address("a.zarr")
    (True, False, False)
    """
    return _ADDRESS.match(text) is not None
