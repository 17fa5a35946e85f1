"""The boundary to libraries that read files.

Why: for a file that is damaged, hostile or only unusual they raise whatever comes, of any type; a list of types misses the next one.
So everything that they raise becomes one sentence here.
"""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# what the file system says of a name, not of what is in the file
_OF_THE_NAME = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE, errno.ELOOP,
}  # fmt: skip
_NO_CODEC = re.compile(
    r"codec not available|unknown codec|requires the 'imagecodecs'|could not import name|no module named"
    r"|(compression|predictor).{0,60} not supported|unsupported (codec|compress)",
    re.IGNORECASE,
)
_LARGEST_PIECE = 1 << 30  # bytes of a tile, strip or chunk, which is decoded as a whole
_LONGEST = 200  # letters of what a library says


@contextmanager
def foreign(sentence: Callable[[str], str], name: str) -> Iterator[None]:
    """Turn whatever a library raises into one LimnError.

    Parameters
    ----------
    sentence
        Makes the sentence from what the library said. A codec that is missing has a sentence of its own.
    name
        Of the file.

    Raises
    ------
    LimnError
        For any exception but errors of the file system about the name, which stay. One that does not name the file gets its name.
    """
    try:
        yield
    except LimnError as error:
        raise error if f"{name}:" in str(error) else LimnError(f"{name}: {error}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_NAME and error.filename is not None:
            raise
        said = reason(error)
        raise no_codec(name, said) if lacks_codec(error) else LimnError(sentence(said)) from error


def no_codec(name: str, said: str) -> LimnError:
    """Make the error that a compression cannot be decoded here.

    Whatever a file holds, it is not damaged then.
    """
    return LimnError(
        f"{name}: found a compression that this installation cannot decode ({said}); "
        "save the image with another one, for example zlib, or install the package that decodes it."
    )


def refuse_large_piece(piece: int, what: str, fix: str) -> None:
    """Refuse a tile, strip or chunk that fills the memory.

    Parameters
    ----------
    piece
        Bytes that it takes when it is decoded.
    what, fix
        What was found, with the name of the file; and how to save the image otherwise.

    Raises
    ------
    LimnError
        If it takes more than 1.1 GB.
    """
    if piece > _LARGEST_PIECE:
        raise LimnError(
            f"{what} that takes {piece / 1e9:.1f} GB when it is decoded, expected at most {_LARGEST_PIECE / 1e9:.1f} GB; {fix}."
        )


def reason(error: BaseException) -> str:
    r"""Say in one line what a library said.

    Examples
    --------
    >>> reason(KeyError("a")), reason(ValueError("no\nsuch thing")), reason(MemoryError())
    ("KeyError 'a'", 'no such thing', 'MemoryError')
    """
    said = " ".join(str(error).split())
    kind = type(error).__name__
    # these say nothing without their names
    text = (
        f"{kind} {said}".strip()
        if isinstance(error, LookupError | MemoryError | RecursionError) or not said
        else said
    )
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def lacks_codec(error: BaseException | None) -> bool:
    """Return whether an error comes from a missing decoder.

    Examples
    --------
    >>> lacks_codec(ValueError("codec not available: 'jpegxs'")), lacks_codec(ValueError("bad data"))
    (True, False)
    """
    while error is not None:
        if (
            isinstance(error, ImportError | NotImplementedError)
            or "UnknownCodec" in type(error).__name__
            or _NO_CODEC.search(str(error))
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
