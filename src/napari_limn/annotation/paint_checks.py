"""What the check-up says of the paint: classes, amounts, places."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.classes import find_classes, number_objects
from napari_limn.annotation.findings import Finding, FindingKind, Remedy, attempt
from napari_limn.annotation.strokes import Paint, count_values, find_paint
from napari_limn.volume.reading.sampling import read_around, sample_boxes, sample_values
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.volume.boxes import Box

ENOUGH = 400
"""Painted voxels of a class from which on twice as many gave little more; measured, see ``benchmarks/few_voxels.py``."""

FEW = 200
"""Painted voxels of a class below which it is worth a word: there it was found much worse than with :data:`ENOUGH`."""

SCANNED = 1 << 26
"""Voxels of labels that are read at most to find the paint."""

_PIECES = 32  # that are read of more, and of full masks
_PIECE: dict[ZeroMeaning, int] = {"unlabelled": 1024, "background": 96}  # their sides, in pixels
_SLICES = 4  # planes from which on strokes in a single one are worth a word
_SEEDS = 8  # painted voxels of a class whose surroundings are looked at
_MOST_SEEDS = 32
_AROUND = 16  # pixels on each side of such a voxel that are read
_NEAR = 3  # pixels on each side of it that count as its surroundings
_JUDGED = 100  # painted voxels from which on their range of intensities says something
_UNLIKE = 0.4  # share of an image beyond that range


def check_paint(
    painted: Sequence[tuple[Volume, Paint]],
    *,
    zero: ZeroMeaning = "unlabelled",
    known: tuple[int, ...] = (),
    names: Mapping[int, str] | None = None,
    complete: bool = True,
) -> list[Finding]:
    """Check the paint on some images.

    `complete` if no paint can be elsewhere.
    """
    counts: dict[int, int] = {}
    for _, paint in painted:
        for value, count in paint.counts.items():
            counts[value] = counts.get(value, 0) + count
    findings = _classes(counts, zero, known) if complete else []
    if findings:
        return findings
    called = {
        value: (names or {}).get(value, f"class {value}" if value else "background") for value in counts
    }
    if complete and not known:
        findings += [*_few(counts, called), *_one_slice(painted)]
    for image, paint in painted:
        if len(paint.where):
            findings += _looks(image, paint, called, judged=not known)
    return findings


def _classes(counts: Mapping[int, int], zero: ZeroMeaning, known: tuple[int, ...]) -> list[Finding]:
    """Check whether there are two classes, by :func:`find_classes`."""
    values = set(counts) - ({0} if zero == "unlabelled" else set())
    if known and values - {0}:
        return []
    findings: list[Finding] = []
    kind: FindingKind = "classes" if values - {0} else "paint"
    other = Remedy(action="select", value=max(values | {0}) + 1)
    ways = (other, Remedy(action="zero")) if kind == "classes" and zero == "unlabelled" else (other,)
    if number_objects(values):
        ways = (Remedy(action="objects"),)
    attempt(findings, kind, partial(find_classes, values, zero), *ways)
    return findings


def _few(counts: Mapping[int, int], called: Mapping[int, str]) -> Iterator[Finding]:
    """Report classes of which too little is painted."""
    for value, count in sorted(counts.items()):
        if 0 < count < FEW:
            yield Finding(
                "few",
                False,
                f"{called[value]}: found {count} painted voxel{'s' * (count > 1)}, expected about {ENOUGH} to distinguish it "
                "from the others; paint a few more strokes of it, in other places.",
                (Remedy(action="select", value=value),) if value else (),
            )


def _one_slice(painted: Sequence[tuple[Volume, Paint]]) -> Iterator[Finding]:
    """Report strokes in a single plane of many.

    Only if there is but one image to paint on.
    """
    if len(painted) != 1:
        return
    image, paint = painted[0]
    t, z, _, _ = image.grid
    planes = paint.where[:, :2]
    if t * z < _SLICES or not len(planes) or (planes != planes[0]).any():
        return
    at = [int(n) for n in planes[0]]
    axis = 1 if z > 1 else 0
    size, own = image.grid[axis], at[axis]
    at[axis] = (own + size) // 2 if own < size / 2 else own // 2
    what = "slice" if axis else "time point"
    yield Finding(
        "slice",
        False,
        f"all strokes lie in {what} {own} of 0 to {size - 1}, expected some in others too, which may look different; "
        f"paint a few in two or three {what}s far from it.",
        (Remedy(action="go", place=(at[0], at[1], 0, 0)),),
    )


def _looks(image: Volume, paint: Paint, called: Mapping[int, str], *, judged: bool) -> Iterator[Finding]:
    """Report what the image looks like where it is painted."""
    seeds = _seeds(paint)
    boxes = [_around(paint.where[seed], image.grid) for seed in seeds]
    parts = read_around(image, boxes)
    flat: dict[int, list[bool]] = {}
    for seed, box, part in zip(seeds, boxes, parts, strict=True):
        flat.setdefault(int(paint.value[seed]), []).append(_is_flat(part, box, paint.where[seed]))
    blind = [called[value] for value, each in sorted(flat.items()) if sum(each) > len(each) / 2]
    if len(blind) > 1:
        yield Finding(
            "alike",
            False,
            f"{image.name}: found most strokes of {' and '.join(blind)} where the image is constant or empty, expected places that "
            "look different; paint inside the image, not on its padding.",
        )
    elif judged:
        yield from _unlike(image, paint, boxes, parts)


def _seeds(paint: Paint) -> list[int]:
    """Choose a few painted voxels of each class, spread over its paint."""
    seeds: list[int] = []
    values = np.unique(paint.value)
    each = max(2, min(_SEEDS, _MOST_SEEDS // len(values)))
    for value in values[:_MOST_SEEDS]:
        own = np.flatnonzero(paint.value == value)
        seeds += own[np.unique(np.linspace(0, len(own) - 1, each + 2).astype(int)[1:-1])].tolist()
    return seeds


def _around(place: NDArray[Any], grid: tuple[int, ...]) -> Box:
    """Return the box around a place, in its plane and the grid."""
    margin = (0, 0, _AROUND, _AROUND)
    return tuple(
        (max(0, int(p) - m), min(n, int(p) + m + 1)) for p, m, n in zip(place, margin, grid, strict=True)
    )


def _is_flat(part: NDArray[Any], box: Box, place: NDArray[Any]) -> bool:
    """Return whether the image is constant around a place.

    Or no number there.
    """
    y, x = (int(place[i]) - box[i][0] for i in (2, 3))
    near = part[:, 0, 0, max(0, y - _NEAR) : y + _NEAR + 1, max(0, x - _NEAR) : x + _NEAR + 1]
    finite = near.dtype.kind != "f" or bool(np.isfinite(part[:, 0, 0, y, x]).all())
    return not finite or bool((near == near[:, :1, :1]).all())


def _unlike(image: Volume, paint: Paint, boxes: list[Box], parts: list[NDArray[Any]]) -> Iterator[Finding]:
    """Report an image much darker or brighter than anything painted."""
    painted = np.concatenate([_painted_in(paint, *pair) for pair in zip(boxes, parts, strict=True)], axis=1)
    everything = sample_values(image)
    if painted.shape[1] < _JUDGED:
        return
    low, high = np.percentile(np.nan_to_num(painted.astype(np.float64)), (0.5, 99.5), axis=1)[..., None]
    ways = {"darker": (everything < low).mean(1), "brighter": (everything > high).mean(1)}
    way, share = max(((way, float(shares.max())) for way, shares in ways.items()), key=lambda row: row[1])
    if share > _UNLIKE:
        yield Finding(
            "unlike",
            False,
            f"{image.name}: found {share:.0%} of the image {way} than anything painted, expected strokes on all that is in it; "
            "paint there too, background as a class of its own.",
        )


def _painted_in(paint: Paint, box: Box, part: NDArray[Any]) -> NDArray[Any]:
    """Return intensities (C, N) of the paint in a box."""
    low, high = np.asarray(box).T
    inside = paint.where[((paint.where >= low) & (paint.where < high)).all(axis=1)] - low
    values: NDArray[Any] = part[(slice(None), *inside.T)]
    return values


def quick_paint(labels: Volume, zero: ZeroMeaning) -> Paint:
    """Find the paint of a label volume, within a moment.

    All of it; of full masks, and of volumes that are too large, what there is in pieces spread over them.
    """
    small = prod(labels.grid) <= SCANNED
    if small and zero == "unlabelled":
        return find_paint(labels, zero)
    parts = []
    for box in sample_boxes(labels.grid, _PIECES, _PIECE[zero]):
        own = find_paint(Volume.of(labels.read(box)[0], "TZYX", labels.name), zero)
        parts.append(Paint(own.where + np.array([a for a, _ in box], np.int32), own.value, own.counts))
    counts = count_values(labels) if small else {v: n for paint in parts for v, n in paint.counts.items()}
    if zero == "background":
        counts[0] = prod(labels.grid) - sum(n for v, n in counts.items() if v)
    return Paint(np.concatenate([p.where for p in parts]), np.concatenate([p.value for p in parts]), counts)
