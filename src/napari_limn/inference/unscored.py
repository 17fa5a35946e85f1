"""Voxels for which a network gives no finite score.

Why: the largest of some scores says nothing where one is NaN or infinite, and any label would look like an answer. So such voxels are
labelled 0, counted through all of a run, and reported at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn.errors import LimnError
from napari_limn.volume.boxes import contains, size_of, whole
from napari_limn.volume.intensity import share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_limn.inference.ledger import Ledger
    from napari_limn.volume.boxes import Box, Grid
    from napari_limn.volume.volume import Volume

_NOTE = "no finite score"  # how the key of a note begins, before the first voxel of a block


class Unscored:
    """Counts them by block, so that a block computed again counts once.

    The ledger of a run keeps the counts.
    """

    def __init__(self) -> None:
        self._counts: dict[Box, int] = {}

    def add(self, box: Box, count: int, ledger: Ledger | None) -> None:
        """Take the count of a block."""
        self._counts[box] = count
        if ledger is not None:
            ledger.note(f"{_NOTE} {[start for start, _ in box]}", [count, *box])

    def resume(self, notes: Mapping[str, Any], grid: Grid, missing: Callable[[Box], bool]) -> None:
        """Go on from the notes of a ledger.

        Blocks of the `grid` that are `missing` come again.
        """
        kept = dict(_counted(value) for key, value in notes.items() if key.startswith(_NOTE))
        self._counts = {
            box: count
            for box, count in kept.items()
            if box and contains(whole(grid), box) and not missing(box)
        }

    def sentence(self, volume: Volume) -> str:
        """Report the count to the user; empty where there is nothing.

        Raises
        ------
        LimnError
            If no voxel of the volume has a finite score.
        """
        count, total = sum(self._counts.values()), size_of(whole(volume.grid))
        fix = "train the model again, or predict an image like those that it was trained on"
        if count >= total:
            raise LimnError(
                f"{volume.name}: found no voxel with a finite score (all are NaN or infinite), expected numbers; {fix}."
            )
        if count == 0:
            return ""
        return (
            f"{volume.name}: found {count} voxels ({share(count / total)}) without a finite score (NaN or infinite), expected numbers "
            f"everywhere; they are labelled 0, which says nothing of them: {fix}."
        )


def _counted(value: Any) -> tuple[Box, int]:
    """Read a note; no box where it is none of ours."""
    match value:
        case [int(count), *box] if len(box) == 4 and all(map(_is_span, box)):
            return tuple((start, stop) for start, stop in box), count
    return (), 0


def _is_span(span: Any) -> bool:
    return isinstance(span, list | tuple) and len(span) == 2 and all(isinstance(n, int) for n in span)
