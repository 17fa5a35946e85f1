"""Whether held-out strokes can tell two answers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from napari_limn.evaluation.scores import mean_iou

if TYPE_CHECKING:
    from numpy.typing import NDArray


def not_worse(new: NDArray[Any], old: NDArray[Any]) -> bool:
    """Whether held-out strokes cannot tell that `new` is worse than `old`: within one standard error.

    Parameters
    ----------
    new, old
        Counts (W, K true, K found) of two models on the same W windows.

    Notes
    -----
    The error of the difference of mean IoUs is that of the jackknife over windows (Efron 1982); to prefer, among models
    that cannot be told apart, one by another criterion is the one-standard-error rule of Breiman et al. 1984.
    """
    difference = mean_iou(new.sum(0)) - mean_iou(old.sum(0))
    without = [mean_iou(new.sum(0) - n) - mean_iou(old.sum(0) - o) for n, o in zip(new, old, strict=True)]
    return difference >= -_jackknife(without) if len(new) > 1 else difference >= 0


def mean_likelihood(sums: NDArray[Any], counts: NDArray[Any]) -> float:
    """Mean logarithm of the probability of the true class, every class alike.

    Parameters
    ----------
    sums
        (W, K) sums over the voxels of each true class in W windows.
    counts
        (W, K true, K found) numbers of voxels.
    """
    each, total = sums.sum(0), counts.sum((0, 2))
    return float((each[total > 0] / total[total > 0]).mean()) if total.any() else 0.0


def likelier(new: NDArray[Any], old: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Whether held-out strokes are explained better by `new` than by `old`: by more than one standard error.

    Parameters
    ----------
    new, old
        (W, K) sums of log-likelihood of two models, see :func:`mean_likelihood`.
    counts
        (W, K true, K found) of any of the two.

    Notes
    -----
    The logarithm of a probability still tells models apart that label every held-out voxel alike. Its error is the jackknife's,
    as in :func:`not_worse`.
    """
    difference, windows = new - old, np.arange(len(counts))
    without = [mean_likelihood(difference[windows != w], counts[windows != w]) for w in windows]
    return mean_likelihood(difference, counts) > _jackknife(without) * _doubt(len(counts))


def _doubt(count: int) -> float:
    """How many standard errors from `count` values are as sure as one from very many (Student 1908)."""
    return float(student.ppf(norm.cdf(1), count - 1)) if count > 1 else float("inf")


def _jackknife(without: list[float]) -> float:
    """Standard error of a statistic over N windows, from its N values without one of them."""
    count = len(without)
    return float(np.sqrt((count - 1) / count * np.square(np.subtract(without, np.mean(without))).sum()))
