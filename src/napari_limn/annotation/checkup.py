"""A check-up before training: what will fail, and how to fix it.

Why: what stops a training is decided where it is raised. The check-up calls the same functions and reports
the same sentences, so that the two cannot disagree.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING

from napari_limn.annotation.findings import Finding, attempt
from napari_limn.annotation.image_checks import check_pair
from napari_limn.annotation.objects import foreground
from napari_limn.annotation.paint_checks import SCANNED, check_paint, quick_paint
from napari_limn.volume.reading.open import open_labels
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.annotation.strokes import Paint


def checkup(
    images: Volume | Sequence[Volume],
    labels: Volume | Sequence[Volume],
    *,
    zero: ZeroMeaning = "unlabelled",
    dims: int = 2,
    objects: bool = False,
    known: tuple[int, ...] = (),
    names: Mapping[int, str] | None = None,
    shown: bool = False,
    paints: Sequence[Paint] | None = None,
) -> tuple[Finding, ...]:
    """Look at samples of images and their paint, as training would.

    Parameters
    ----------
    images, labels
        One of each, or as many labels as images.
    zero, dims, objects
        As in a ``TrainSpec``.
    known
        Values of the classes of a model that is trained further: corrections may be few, and of one class.
    names
        The user's names of the values.
    shown
        Whether scale and origin of the labels are those on the screen; those of a file that says nothing are not compared.
    paints
        All paint, where it is known already. Otherwise it is looked for in at most 67 million voxels of each label volume, and what
        can only be said of all paint is left out for larger ones.

    Returns
    -------
    What stops training first, in the very sentences of the errors that would stop it; nothing if all is well.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.zeros((1, 40, 40), np.uint8)
    >>> labels[0, 3:6] = 1
    >>> [f.kind for f in checkup(Volume.of(np.zeros((1, 40, 40))), Volume.of(labels))]
    ['classes', 'constant']
    """
    pairs = list(zip(_listed(images), _listed(labels), strict=True))
    given = paints if paints is not None else [None] * len(pairs)
    fitting: list[tuple[Volume, Paint]] = []
    findings, complete = list[Finding](), True
    for (image, own), paint in zip(pairs, given, strict=True):
        findings += (about := check_pair(image, own, dims=dims, shown=shown))
        if any(finding.kind == "shape" for finding in about):
            continue
        fitted = open_labels(own, image)
        masks = foreground(fitted, dims) if objects else fitted
        if paint is None:
            complete = complete and prod(masks.grid) <= SCANNED
            paint = attempt(findings, "values", partial(quick_paint, masks, zero))
        if paint is not None:
            fitting.append((image, paint))
    if not any(finding.stops for finding in findings):
        findings += check_paint(fitting, zero=zero, known=known, names=names or {}, complete=complete)
    return tuple(sorted(findings, key=lambda finding: not finding.stops))


def _listed(sources: Volume | Sequence[Volume]) -> list[Volume]:
    return [sources] if isinstance(sources, Volume) else list(sources)
