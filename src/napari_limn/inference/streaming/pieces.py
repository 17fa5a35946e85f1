"""Pieces of a layer's output that a sweep keeps between blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from napari_limn.inference.streaming.stages import Spans


@dataclass(slots=True)
class Piece:
    """A piece of a layer's output, and where it lies."""

    spans: Spans
    data: Tensor

    def along(self, axis: int, low: int, high: int) -> Piece:
        """View what of it lies in [low, high) along an axis."""
        start = self.spans[axis][0]
        spans = (*self.spans[:axis], (low, high), *self.spans[axis + 1 :])
        return Piece(spans, self.data.narrow(axis + 2, low - start, high - low))

    def within(self, spans: Spans) -> Piece | None:
        """View what of it lies in `spans`; None for nothing."""
        piece = self
        for axis, ((a, b), (c, d)) in enumerate(zip(self.spans, spans, strict=True)):
            if a >= d or b <= c:
                return None
            if a < c or b > d:
                piece = piece.along(axis, max(a, c), min(b, d))
        return piece

    def owned(self) -> Piece:
        """Copy it into memory of its own.

        A view would keep all of its tensor alive.
        """
        return Piece(self.spans, self.data.clone(memory_format=torch.preserve_format))


def remaining(
    pieces: Iterable[Piece], starts: Sequence[Sequence[int]], block: tuple[int, ...], order: Sequence[int]
) -> list[Piece]:
    """Keep what later blocks need: of each axis the margin.

    Behind it nothing.

    Parameters
    ----------
    pieces
        What there is of an edge.
    starts
        Of the edge: per axis and block the first sample that is still needed.
    block
        The block that was just computed.
    order
        Axes from the outermost loop inwards.
    """
    kept = []
    for piece in pieces:
        rest = piece
        for axis in order:
            start = starts[axis][block[axis] + 1]
            low, high = rest.spans[axis]
            if low >= start:
                kept.append(rest if rest is piece else rest.owned())
                break
            if high > start:
                kept.append(rest.along(axis, start, high).owned())
                rest = rest.along(axis, low, start)
    return kept
