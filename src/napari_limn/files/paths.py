"""Which names files may have, and which are opened.

Files travel: a name that one system cannot store is given on none. Windows takes ``CON.tif`` for a device and what follows a colon
for a part of the file before it, and cuts off blanks and dots at the end.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from napari_limn.errors import LimnError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one letter before the colon is a drive of Windows
_NO_FILES = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_DEVICES = re.compile(
    r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE
)  # of Windows, whatever the suffix
_NO_LETTERS = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_LONGEST = 200  # bytes of a name; 255 are the most, and working names are longer


def refuse_unportable(path: Path) -> None:
    """Refuse the name of a result that not every system can store.

    Its folders are there, so they have names.

    Raises
    ------
    LimnError
        For a device of Windows, letters that have a meaning there, a blank or dot at the end, and a very long name.

    Examples
    --------
    >>> refuse_unportable(Path("nul.txt"))
    Traceback (most recent call last):
    napari_limn.errors.LimnError: nul.txt: found a name that Windows keeps for a device, expected one that every system can store; choose another name.
    """
    if (wrong := _unportable(path.name)) is not None:
        name = path.name if path.name.isprintable() else repr(path.name)
        raise LimnError(
            f"{name}: found {wrong}, expected one that every system can store; choose another name."
        )


def portable_name(text: str, suffix: str = "") -> str:
    """Make a name that every system can store of any text.

    It is as near to the text as may be, with `suffix` behind it.

    Examples
    --------
    >>> portable_name("Labels: 1/2 "), portable_name("aux")
    ('Labels_ 1_2_', '_aux')
    """
    most = _LONGEST - len(os.fsencode(suffix))
    name = _NO_LETTERS.sub("_", text.encode(errors="replace")[:most].decode(errors="ignore"))
    name = re.sub(r"[ .]$", "_", name)
    return f"_{name}{suffix}" if not name or _DEVICES.fullmatch(name + suffix) else name + suffix


def _unportable(name: str) -> str | None:
    """Say what is wrong with a name; None if nothing is."""
    if _DEVICES.fullmatch(name):
        return "a name that Windows keeps for a device"
    if letter := _NO_LETTERS.search(name):
        return f"a name with {letter[0]!r}"
    if name.endswith((" ", ".")):
        return "a name that ends in a blank or a dot"
    if (length := len(os.fsencode(name))) > _LONGEST:
        return f"a name of {length} bytes, more than {_LONGEST}"
    return None


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


def is_address(text: str) -> bool:
    """Return whether a text is an address such as ``https://…``.

    Examples
    --------
    >>> is_address("s3://bucket/a.zarr"), is_address("C:/a.zarr"), is_address("a.zarr")
    (True, False, False)
    """
    return _ADDRESS.match(text) is not None
