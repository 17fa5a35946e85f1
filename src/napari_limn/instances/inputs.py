"""What objects are made from.

Labels, which of their classes, their probabilities, and an image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.classes import MOST
from napari_limn.errors import LimnError
from napari_limn.files.durable import fingerprint
from napari_limn.instances.blocks import BlockGrid
from napari_limn.instances.channels import channel_of
from napari_limn.instances.properties import CERTAIN
from napari_limn.volume.reading.omezarr import open_zarr
from napari_limn.volume.reading.open import identity, open_labels, open_volume, refuse_fractions
from napari_limn.volume.reading.sampling import sample_values
from napari_limn.volume.writing.zarr_output import PROBABILITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_limn.instances.spec import ObjectSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What objects are made from, decided.

    Attributes
    ----------
    labels
        The classes.
    classes
        Values whose objects are wanted.
    names
        Names of values, as far as known.
    probabilities
        Of every class, a channel each, if they are known.
    channels
        Channel of each wanted class.
    image
        To measure intensities in, if there is one.
    """

    labels: Volume
    classes: tuple[int, ...]
    names: Mapping[int, str]
    probabilities: Volume | None = None
    channels: tuple[int, ...] = ()
    image: Volume | None = None

    @classmethod
    def of(cls, labels: Any, image: Any, spec: ObjectSpec, probabilities: Any = None) -> Inputs:
        """Open what is given and decide what is left open.

        Parameters
        ----------
        labels, image
            Paths, arrays or volumes; `image` may be None.
        spec
            Says which classes.
        probabilities
            With one channel for each class, in the order of their values. Those of a prediction are taken where they lie in its file.

        Raises
        ------
        LimnError
            If the labels are not whole numbers, do not fit the image, or have no such classes.
        """
        shown = None if image is None else open_volume(image)
        volume = open_volume(labels) if shown is None else open_labels(labels, shown)
        refuse_fractions(volume)
        if volume.channels != 1:
            raise LimnError(
                f"{volume.name}: found {volume.channels} channels, expected labels, which have one."
            )
        named = dict(volume.names or {})
        values = sorted(named)
        if (spec.classes is None and not any(_is_background(name) for name in named.values())) or not named:
            values = _values_in(volume)
        classes = _wanted(spec.classes, values, named, volume.name)
        likely = _stored_probabilities(volume) if probabilities is None else open_volume(probabilities)
        order = sorted(named) if named else values
        if likely is not None and (likely.channels != len(order) or likely.grid != volume.grid):
            if probabilities is not None:
                raise LimnError(
                    f"{likely.name}: found probabilities of {likely.channels} classes and extent {likely.grid}, expected "
                    f"{len(order)} and {volume.grid} like the labels."
                )
            likely = None
        channels = tuple(order.index(value) for value in classes if value in order)
        if len(channels) != len(classes):
            likely = None
        return cls(volume, classes, named, likely, channels, shown)

    def pivot(self) -> NDArray[Any] | None:
        """Return a number near the intensities of each channel."""
        if self.image is None:
            return None
        values = sample_values(self.image)
        kind = np.float64 if values.dtype.kind == "f" else np.int64
        middles = np.nan_to_num(np.nanmean(values.astype(np.float64), axis=1), posinf=0, neginf=0)
        pivot: NDArray[Any] = (np.rint(middles) if kind is np.int64 else middles).astype(kind)
        return pivot

    def intensities(self, box: Box) -> NDArray[Any] | None:
        """Read the image in a block (C, Z, Y, X)."""
        return None if self.image is None else self.image.read(box)[:, 0]

    def probability(self, box: Box, classes: NDArray[np.int64]) -> NDArray[Any] | None:
        """Read the probability of the class at each voxel of a block.

        As whole numbers up to :data:`CERTAIN`. `classes`: value of the class at each voxel (Z, Y, X).
        """
        if self.probabilities is None:
            return None
        dtype = self.probabilities.dtype
        scale = CERTAIN if dtype.kind == "f" else CERTAIN / np.iinfo(dtype).max
        own = np.zeros(classes.shape, np.int64)
        for value, channel in zip(self.classes, self.channels, strict=True):
            at = classes == value
            if at.any():
                likely = channel_of(self.probabilities, channel).read(box)[0, 0]
                own[at] = np.rint(likely[at].astype(np.float64) * scale)
        return own


def refuse_no_class(asked: Sequence[int | str] | None, names: Mapping[int, str], name: str) -> None:
    """Refuse classes that are not there, as :meth:`Inputs.of`.

    Parameters
    ----------
    asked
        Names or values.
    names
        Names of all values.
    name
        Whose classes they are.
    """
    _wanted(asked, sorted(names), names, name)


def source_of(volume: Volume) -> str:
    """Return what identifies an image or labels, also after a change."""
    return f"{identity(volume)}, {fingerprint(sample_values(volume).tobytes())}"


def _is_background(name: str) -> bool:
    return name.strip().casefold() == _BACKGROUND


def _wanted(
    asked: Sequence[int | str] | None, values: Sequence[int], names: Mapping[int, str], name: str
) -> tuple[int, ...]:
    """Choose the values whose objects are wanted."""
    listed = ", ".join(f"{value} ({names[value]})" if value in names else str(value) for value in values)
    if asked is None:
        ground = {v for v in values if _is_background(names.get(v, ""))} or {min(values)}
        if wanted := tuple(v for v in values if v not in ground):
            return wanted
        raise LimnError(
            f"{name}: found no class but background ({listed}), expected another one; say which class, by --class."
        )
    by_name = {called: value for value, called in names.items()}
    chosen = {by_name.get(one, one) if isinstance(one, str) else one for one in map(_number, asked)}
    if not chosen or not chosen <= set(values):
        what = ", ".join(map(str, asked)) or "no class"
        raise LimnError(f"{name}: found {what} as the class, expected one of {listed}; check the spelling.")
    return tuple(sorted(v for v in chosen if isinstance(v, int)))


def _number(asked: int | str) -> int | str:
    return int(asked) if isinstance(asked, str) and asked.isdecimal() else asked


def _values_in(volume: Volume) -> list[int]:
    """Find all values of labels.

    Raises
    ------
    LimnError
        If there are so many that they number objects.
    """
    grid, values = BlockGrid.of(volume), set[int]()
    for number in range(grid.count):
        part = volume.read(grid.box(number))
        values.update(np.unique(part[part != part.flat[0]]).tolist(), [int(part.flat[0])])
        if len(values) > MOST + 1:
            raise LimnError(
                f"{volume.name}: found more than {MOST} values, expected classes; its objects have numbers already. Save "
                "a label volume of classes, with the same value for objects of one kind."
            )
    return sorted(map(int, values))


def _stored_probabilities(labels: Volume) -> Volume | None:
    """Open the probabilities in the output of a prediction.

    None where there are none.
    """
    if labels.path is None or not (folder := labels.path / PROBABILITIES).is_dir():
        return None
    return replace(open_zarr(folder), path=folder)
