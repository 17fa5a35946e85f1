"""Whether held-out strokes can distinguish two answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from napari_limn.evaluation.scores import mean_iou

if TYPE_CHECKING:
    from numpy.typing import NDArray


def not_worse(new: NDArray[Any], old: NDArray[Any]) -> bool:
    """Say whether `new` is not worse than `old`.

    Within one standard error, by held-out strokes.

    Parameters
    ----------
    new, old
        Counts (W, K true, K predicted) of two models on the same W windows.

    Notes
    -----
    The error of the difference of mean IoUs is that of the jackknife over windows (Efron 1982); to prefer, among models
    that cannot be distinguished, one by another criterion is the one-standard-error rule of Breiman et al. 1984.
    """
    difference = mean_iou(new.sum(0)) - mean_iou(old.sum(0))
    without = [mean_iou(new.sum(0) - n) - mean_iou(old.sum(0) - o) for n, o in zip(new, old, strict=True)]
    return difference >= -_jackknife(without) if len(new) > 1 else difference >= 0


def mean_likelihood(sums: NDArray[Any], counts: NDArray[Any]) -> float:
    """Average the log-likelihood, every class alike.

    Parameters
    ----------
    sums
        (W, K) sums over the voxels of each true class in W windows.
    counts
        (W, K true, K predicted) numbers of voxels.
    """
    each, total = sums.sum(0), counts.sum((0, 2))
    return float((each[total > 0] / total[total > 0]).mean()) if total.any() else 0.0


def likelier(new: NDArray[Any], old: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Say whether `new` explains held-out strokes better than `old`.

    By more than one standard error.

    Parameters
    ----------
    new, old
        (W, K) sums of log-likelihood of two models, see :func:`mean_likelihood`.
    counts
        (W, K true, K predicted) of any of the two.

    Notes
    -----
    The logarithm of a probability still distinguishes models that label every held-out voxel alike. Its error is that of the
    jackknife, as in :func:`not_worse`.
    """
    difference, windows = new - old, np.arange(len(counts))
    without = [mean_likelihood(difference[windows != w], counts[windows != w]) for w in windows]
    return mean_likelihood(difference, counts) > _jackknife(without) * _doubt(len(counts))


def _doubt(count: int) -> float:
    """Give the number of standard errors to ask for.

    So many, from `count` values, are as sure as one from very many (Student 1908).
    """
    return float(student.ppf(norm.cdf(1), count - 1)) if count > 1 else float("inf")


def _jackknife(without: list[float]) -> float:
    """Compute the standard error of a statistic over N windows.

    `without`: its N values without one of them.
    """
    count = len(without)
    return float(np.sqrt((count - 1) / count * np.square(np.subtract(without, np.mean(without))).sum()))
