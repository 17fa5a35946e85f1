"""How good labels are: intersection over union and Dice, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.classes import refuse_negative
from napari_limn.arguments import checked
from napari_limn.errors import LimnError
from napari_limn.volume.boxes import blocks
from napari_limn.volume.reading.open import open_volume, refuse_fractions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 1 << 24  # voxels that are compared at once, or a row of them
_DIRECT = 1 << 31  # labels up to this: two of them make one whole number of 64 bits


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of a label volume against its truth.

    Parameters
    ----------
    iou, dice
        Jaccard index and Dice coefficient (0–1) of each label value of the truth, over all voxels at once.
    mean_iou, mean_dice
        Their means over the values of the truth.
    voxels
        How many voxels were compared.
    """

    iou: dict[int, float]
    dice: dict[int, float]
    mean_iou: float
    mean_dice: float
    voxels: int


@checked
def score(prediction: Any, truth: Any, zero: Literal["auto", "unlabelled", "background"] = "auto") -> Score:
    """Compare labels with the truth, value by value.

    Parameters
    ----------
    prediction, truth
        Paths, arrays or volumes of the same extent, carrying the same label values.
    zero
        Whether a 0 in the truth is a class or means "not labelled" and is left out. ``"auto"``: a class if the
        prediction has it too.

    Raises
    ------
    LimnError
        If extents differ or nothing can be compared.

    Examples
    --------
    >>> score(np.array([[1, 2, 2]]), np.array([[1, 1, 2]])).iou
    {1: 0.5, 2: 0.5}
    """
    predicted, true = open_volume(prediction), open_volume(truth)
    for labels in (predicted, true):
        refuse_fractions(labels)
        if labels.channels != 1:
            raise LimnError(
                f"{labels.name}: found {labels.channels} channels, expected labels, which have none."
            )
    if predicted.grid != true.grid:
        raise LimnError(
            f"{predicted.name}: found TZYX size {predicted.grid}, its truth {true.name} has {true.grid}; expected the same: "
            "compare labels with the truth of their own image."
        )
    pairs: dict[tuple[int, int], int] = {}
    *_, y, x = true.grid
    rows = max(1, min(y, _AT_ONCE // x))
    for box in blocks(true.grid, (1, max(1, _AT_ONCE // (rows * x)), rows, x)):
        _count(predicted.read(box).ravel(), true.read(box).ravel(), pairs)
    drop = zero == "unlabelled" or (zero == "auto" and not any(p == 0 for p, _ in pairs))
    pairs = {k: n for k, n in pairs.items() if not (drop and k[1] == 0)}
    values = sorted({v for _, v in pairs})
    if not values:
        raise LimnError(f"{true.name}: found no labelled voxel in the truth, expected some to compare with.")
    return _from_pairs(pairs, values)


def _count(predicted: NDArray[Any], true: NDArray[Any], pairs: dict[tuple[int, int], int]) -> None:
    """Add the joint counts of (predicted, true) to `pairs`."""
    for labels in (predicted, true):
        if (largest := int(labels.max(initial=0))) > np.iinfo(np.int64).max:
            raise LimnError(f"found the label {largest}, expected at most 2⁶³ − 1; renumber the labels.")
    both = np.stack([predicted.astype(np.int64), true.astype(np.int64)])
    refuse_negative(both)
    values, span = None, int(both.max()) + 1
    if span > _DIRECT:
        values, both = np.unique(both, return_inverse=True)
        both, span = both.reshape(2, -1), len(values)
    joint, counts = np.unique(both[0] * span + both[1], return_counts=True)
    for key, n in zip(joint.tolist(), counts.tolist(), strict=True):
        p, t = divmod(key, span)
        pair = (p, t) if values is None else (int(values[p]), int(values[t]))
        pairs[pair] = pairs.get(pair, 0) + n


def _from_pairs(pairs: dict[tuple[int, int], int], values: list[int]) -> Score:
    iou, dice = {}, {}
    for v in values:
        hit = pairs.get((v, v), 0)
        predicted = sum(n for (p, _), n in pairs.items() if p == v)
        true = sum(n for (_, t), n in pairs.items() if t == v)
        iou[v] = hit / (predicted + true - hit)
        dice[v] = 2 * hit / (predicted + true)
    return Score(
        iou,
        dice,
        float(np.mean(list(iou.values()))),
        float(np.mean(list(dice.values()))),
        sum(pairs.values()),
    )


def mean_iou(confusion: NDArray[Any]) -> float:
    """Average the IoU (0–1) of the classes that occur.

    `confusion` has shape (K true, K predicted).
    """
    hit = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    present = confusion.sum(1) > 0
    return float((hit[present] / union[present]).mean()) if present.any() else 0.0
