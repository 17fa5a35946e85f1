"""Checks of an image, and of labels beside it, whatever is painted.

Their axes, their place, their intensities.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.annotation.findings import Finding, Remedy, attempt
from napari_limn.errors import LimnError
from napari_limn.volume.decoding.pieces import MOST_FOR_SAMPLES, reading_bytes
from napari_limn.volume.intensity import no_numbers, refuse_no_intensities, share
from napari_limn.volume.placement import NEAR
from napari_limn.volume.reading.open import open_labels
from napari_limn.volume.reading.sampling import sample_values
from napari_limn.volume.volume import voxels_apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_limn.volume.placement import Placement
    from napari_limn.volume.volume import Volume

_PILED = (
    0.01  # share of voxels at the highest value; the 99th percentile, which becomes 1, is that value then
)
_SPARSE = (
    0.98  # share of voxels at one value, from which on both percentiles that are scaled by are that value
)
_CHANNELS = 4  # an axis of up to so many may be one of channels


def check_pair(
    image: Volume, labels: Volume | None = None, *, dims: int = 2, shown: bool = False
) -> list[Finding]:
    """Check an image, and labels beside it, whatever is painted.

    The rest as in :func:`checkup`.
    """
    findings: list[Finding] = []
    attempt(findings, "depth", partial(refuse_flat, image, dims), Remedy(action="dims", value=2))
    attempt(findings, "numbers", partial(refuse_no_intensities, image))
    notes = (*image.notes, *(labels.notes if labels is not None else ()))
    findings += [Finding("file", False, note) for note in notes]
    findings += [*_axes(image, dims), *_intensities(image)]
    if labels is not None:
        fits = attempt(findings, "shape", partial(open_labels, labels, image), Remedy(action="layer"))
        findings += check_place(image, labels, shown=shown) if fits is not None else []
    return findings


def refuse_flat(image: Volume, dims: int) -> None:
    """Refuse a single plane for a network over volumes.

    With a LimnError.
    """
    if dims == 3 and image.grid[1] == 1:
        raise LimnError(
            f"{image.name}: found a single plane, expected a stack for a 3D network; choose a 2D network."
        )


def check_place(image: Volume, labels: Volume, *, shown: bool = False) -> list[Finding]:
    """Check whether labels lie where their image lies.

    By the corners of their grids; voxels are what counts in training.
    """
    if (far := voxels_apart(labels, image, shown=shown)) <= NEAR:
        return []
    place, expected = _places(labels.placement, image.placement, far)
    seen = shown or labels.placement.shown
    fix = "press “Copy the image's position” in Train" if seen else "copy the scale and position of the image"
    return [
        Finding(
            "place",
            False,
            f"{labels.name}: found {place}, expected {expected} {image.name}; strokes count voxel by voxel, wherever they are shown: "
            f"{fix}, and see whether they still lie right.",
            (Remedy(action="place"),),
        )
    ]


def _places(ours: Placement, theirs: Placement, far: float) -> tuple[str, str]:
    """Say where labels lie, and where they are expected."""
    if ours.is_plain and theirs.is_plain and len(ours.names) == len(theirs.names):
        ours = ours.along(theirs.names) if set(ours.names) == set(theirs.names) else ours
        size, expected = np.diag(ours.matrix), np.diag(theirs.matrix)
        if not np.allclose(size, expected, rtol=1e-6):
            return f"voxels of {_plain(size, ' × ')}", f"{_plain(expected, ' × ')} as in"
        if not np.allclose(ours.offset, theirs.offset):
            return f"the first voxel at {_plain(ours.offset, ', ')}", f"{_plain(theirs.offset, ', ')} as in"
    return f"corners {far:.3g} voxels away", "them in the place of those of"


def _axes(image: Volume, dims: int) -> Iterator[Finding]:
    """Report axes that nothing vouches for.

    Without voxel size or unit, names come from the number of dimensions alone.
    """
    own, shape = image.axes, tuple(int(n) for n in image.data.shape)
    if dims == 3 and own.lacks_size("Z"):
        yield Finding("axes", False, f"{image.name}: found voxels with a size along X and none along Z, taken for as deep as wide; "
            "a 3D network goes by it: give the image its scale.")  # fmt: skip
    if "C" in own.names or len(shape) < 3 or set(own.units) != {"pixel"} or set(own.scale) != {1.0}:
        return
    named = f"{image.name}: found {' × '.join(map(str, shape))} voxels, taken as {own.names}"
    spatial = own.names.replace("T", "")
    if shape[-1] <= _CHANNELS < min(shape[-3:-1]):
        axes = ("Z" if len(shape) == 4 else "") + "YXC"
        yield _doubt(
            f"{named}, expected a longer last axis; if these are channels, name the axes {axes}.", axes
        )
    elif shape[0] <= _CHANNELS < min(shape[-2:]) and shape[0] > 1:
        axes = "C" + spatial[-(len(shape) - 1) :]
        yield _doubt(
            f"{named}, with {shape[0]} along {own.names[0]}; if these are channels, name the axes {axes}.",
            axes,
        )
    elif dims == 3 and own.names == "ZYX":
        yield _doubt(
            f"{named} without a voxel size, expected one for a 3D network, which takes voxels for as deep as wide; give the "
            "image its scale, or name the axes TYX if the first one is time.",
            "TYX",
        )


def _doubt(sentence: str, axes: str) -> Finding:
    return Finding("axes", False, sentence, (Remedy(action="axes", axes=axes),))


def _intensities(image: Volume) -> Iterator[Finding]:
    """Report channels without contrast, and those cut off at the top."""
    if image.dtype.kind not in "buif":
        return
    if (taken := reading_bytes(image.data)) > MOST_FOR_SAMPLES:
        yield Finding(
            "file",
            False,
            f"{image.name}: found tiles, strips or chunks so large that decoding one takes {taken / 1e9:.2f} GB, expected at most "
            f"{MOST_FOR_SAMPLES / 1e9:.2f} GB to look at its intensities, which are not checked: save the image in smaller pieces.",
        )
        return
    for number, channel in enumerate(sample_values(image)):
        name = image.name + (f", channel {number}" if image.channels > 1 else "")
        for sentence in no_numbers(channel, name):
            yield Finding("numbers", False, sentence)
        values, counts = np.unique(channel[np.isfinite(channel)], return_counts=True)
        if len(values) < 2:
            only = f"nothing but {values[0]:g}" if len(values) else "no number at all"
            yield Finding(
                "constant",
                False,
                f"{name}: found {only} in samples of the image, expected intensities that differ; choose another image or channel.",
            )
        elif counts[-1] > max(_PILED * counts.sum(), counts[-2]) and len(values) > 2:
            yield Finding(
                "saturated",
                False,
                f"{name}: found {counts[-1] / counts.sum():.0%} of the voxels at the highest value, {values[-1]:g}, expected hardly any; "
                "nothing can be distinguished in there: record it with less exposure, or convert it without cutting off.",
            )
        elif counts.max() > _SPARSE * counts.sum():
            yield Finding(
                "sparse",
                False,
                f"{name}: found {share(counts.max() / counts.sum())} of the voxels at one value, {values[counts.argmax()]:g}, expected intensities "
                "that differ in most; they are scaled by the range of the others.",
            )


def _plain(numbers: Iterable[float], between: str) -> str:
    return between.join(f"{n:g}" for n in numbers)
