"""Events of a run over many images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_limn.runs import Event


@dataclass(frozen=True, slots=True)
class ImageBegun(Event):
    """Image `number` of `total` comes next; what follows is of it."""

    image: str
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class ImageDone(Event):
    """Image `number` of `total` is labelled, or never will be.

    `status` is ``"kept"`` where an earlier run had done it. `message` says why one failed, in a sentence.
    """

    image: str
    output: str
    number: int
    total: int
    status: Literal["done", "kept", "failed"]
    message: str
    seconds: float
