"""Images and what is painted on them, collected and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.checkup import checkup
from napari_limn.annotation.classes import find_classes
from napari_limn.annotation.image_checks import refuse_flat
from napari_limn.annotation.objects import foreground
from napari_limn.annotation.strokes import Paint, find_paint
from napari_limn.errors import LimnError
from napari_limn.volume.intensity import refuse_no_intensities
from napari_limn.volume.reading.open import open_labels, open_volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_limn.annotation.classes import Classes
    from napari_limn.annotation.findings import Finding
    from napari_limn.model import ModelSpec
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import RGBA, Volume


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images, their labels and their paint, checked against one another.

    `objects` are the numbered objects, if labels are such; `warnings` are what a check-up found that does not stop a training.
    """

    images: tuple[Volume, ...]
    labels: tuple[Volume, ...]
    paints: tuple[Paint, ...]
    classes: Classes
    objects: tuple[Volume, ...] = ()
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class PaintedTile:
    """Part of an image with paint.

    Parameters
    ----------
    source
        Number of the image.
    box
        On its TZYX grid.
    classes
        Class indices in it to learn from.
    """

    source: int
    box: Box
    classes: tuple[int, ...]


def collect_training_data(
    images: Any,
    labels: Any,
    spec: TrainSpec,
    known: ModelSpec | None,
    colors: Mapping[int, RGBA],
    names: Mapping[int, str],
) -> LabelledImages:
    """Open images and labels, find paint and classes, check them.

    Parameters
    ----------
    images, labels
        One of each, or sequences of the same length: whatever :func:`open_volume` takes.
    spec
        How to train.
    known
        That of a model that is trained further: the axes of its network count, and its classes stay.
    colors, names
        What the user calls the values, as far as known.

    Raises
    ------
    LimnError
        If images and labels do not fit one another, an image has no z and the network is one over volumes, or the paint is of
        fewer than two classes.
    """
    sources, painted = _listed(images), _listed(labels)
    if len(sources) != len(painted) or not sources:
        raise LimnError(
            f"found {len(sources)} images and {len(painted)} labels, expected as many of each, at least one."
        )
    opened = tuple(open_volume(source) for source in sources)
    if len({image.channels for image in opened}) > 1:
        counts = ", ".join(f"{image.name} {image.channels}" for image in opened)
        raise LimnError(
            f"found images of different numbers of channels ({counts}), expected the same in all."
        )
    ndim, before = (known.network.ndim, known.classes) if known else (spec.ndim, None)
    for image in opened:
        refuse_flat(image, ndim)
        refuse_no_intensities(image)
    masks = tuple(open_labels(mask, image) for mask, image in zip(painted, opened, strict=True))
    objects = masks if spec.objects else ()
    if objects:
        masks = tuple(foreground(mask, ndim) for mask in objects)
    paints = tuple(find_paint(mask, spec.zero, spec.seed) for mask in masks)
    values = {value for paint in paints for value in paint.counts}
    classes = find_classes(values, spec.zero, colors, names, before)
    if spec.class_weights is not None and len(spec.class_weights) != classes.count:
        raise LimnError(
            f"TrainSpec.class_weights: found {len(spec.class_weights)} weights for {classes.count} classes, "
            "expected one for each."
        )
    findings = checkup(
        opened, masks, zero=spec.zero, dims=ndim, known=before.values if before else (), names=classes.name_of, paints=paints
    )  # fmt: skip
    warnings = tuple(finding for finding in findings if not finding.stops)
    return LabelledImages(opened, masks, paints, classes, objects, warnings)


def _listed(sources: Any) -> list[Any]:
    return list(sources) if isinstance(sources, (list, tuple)) else [sources]
