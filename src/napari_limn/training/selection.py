"""Which answer is shown: classifier, network or both, by held-out strokes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.evaluation.scores import mean_iou
from napari_limn.evaluation.significance import likelier, mean_likelihood, not_worse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.network.unet import UNet

    Windows = Sequence[tuple[torch.Tensor, torch.Tensor]]

MATURE = 150
"""Maturity from which a network has learnt enough to be shown unless it is surely worse than the first answer."""

_MATURE_SHARE = 0.5  # of the budget, after which it has too
_TOGETHER, _ALONE = 0.25, 0.0  # shares of the classifier beside a network that has learnt enough
_SIDE = 160  # pixels of the patches in steps of which maturity is counted
_FULLY_MATURE = (
    300  # the maturity at which the classifier would have no share, if the least were not above that
)
_LEAST = 1e-3  # a probability counts as no less, so that no single voxel decides
# Logits are multiplied by these. Answers are compared at the temperature that suits each best. Otherwise a network that knows nothing
# seems to help, because it makes the classifier less sure
_TEMPERATURES = tuple(float(x) for x in np.geomspace(1 / 8, 8, 19))


@dataclass(frozen=True, slots=True)
class Selection:
    """Whether an answer is to be shown from now on.

    Parameters
    ----------
    share
        Of the classifier in the best answer found, 0–1.
    score
        Its mean IoU (0–1) on held-out strokes; None where nothing is held out, or where its logits are not finite.
    better
        Whether it takes the place of what was shown before.
    """

    share: float
    score: float | None
    better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionPolicy:
    """What a network must show to be preferred to the classifier.

    Parameters
    ----------
    marked
        Whether the first network that is scored stays the mark for those that come. Otherwise that is the best: the best of many
        scores on few strokes is the luckiest, and nothing would come after it.
    trusting
        Whether a network is shown where nothing is held out, together with its classifier.
    distilled
        Whether networks learn from a classifier that knows the held-out strokes. Then these flatter a network, and it is shown only
        once it is mature, and never alone; but it differs so little from the classifier that this is safe, even with nothing held out.
    bfloat16
        Whether networks compute in it. Classifiers never do: derivatives are small differences of large numbers.
    """

    marked: bool = False
    trusting: bool = False
    distilled: bool = False
    bfloat16: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What an answer gives in W windows with K classes.

    Parameters
    ----------
    counts
        Labelled voxels (W, K true, K predicted).
    likelihood
        Sums (W, K) of the logarithm of the probability of the true class, by the true class.
    """

    counts: NDArray[np.int64]
    likelihood: NDArray[np.float64]

    @property
    def score(self) -> float:
        """Give the mean IoU."""
        return mean_iou(self.counts.sum(0))


def maturity(steps: int, size: Sequence[int]) -> float:
    """Count steps in steps with patches of 160 × 160 voxels.

    Steps with patches of another `size` teach as much by the root of the number of voxels.

    Examples
    --------
    >>> [round(maturity(100, size)) for size in ((160, 160), (64, 64), (32, 32, 32))]
    [100, 40, 113]
    """
    return steps * sqrt(prod(size)) / _SIDE


def is_mature(learnt: float, spent: float) -> bool:
    """Say whether a network has had its time.

    By its maturity, and by the share of the budget that is spent.
    """
    return learnt >= MATURE or spent >= _MATURE_SHARE


def share_beside(learnt: float) -> float:
    """Give the share of the classifier beside a network.

    The less mature a network is, the less it counts.

    Examples
    --------
    >>> [share_beside(learnt) for learnt in (0, 75, 300)]
    [1.0, 0.75, 0.25]
    """
    return max(_TOGETHER, 1 - learnt / _FULLY_MATURE)


class ModelSelector:
    """Lets nothing be shown that held-out strokes do not prefer.

    The classifier is shown until a network together with it explains the held-out strokes better by more than one standard
    error, or has had half of its time and is not surely worse; from then on the longest trained of those that they cannot
    tell from the best. The network alone is shown where it is surely better than both together, unless it was distilled: strokes say
    little about borders, and two that err in different places err less.

    Parameters
    ----------
    windows
        Images (1, C, …) and class indices (1, …), labelled where held-out strokes are.
    policy
        What a network must show.
    proven
        Whether a network is shown: it then gives way only to a classifier that is surely better.
    """

    def __init__(
        self, windows: Windows, policy: SelectionPolicy | None = None, *, proven: bool = False
    ) -> None:
        self.windows, self._policy, self._proven = windows, policy or SelectionPolicy(), proven
        self._trusting = self._policy.trusting or proven
        self._simple: Evidence | None = None  # of the classifier alone
        self._logits: list[torch.Tensor] = []  # of the classifier, for each window
        self._shown: Evidence | None = None  # of the best network shown; None while there is none

    def classifier(self, classifier: PixelClassifier) -> Selection:
        """Score a pixel classifier that has not seen the held-out strokes.

        It is shown until something is better.
        """
        self._logits = self._computed(classifier)
        self._simple = self._evidence(self._logits)
        return Selection(1.0, self._simple.score, self._shown is None and not self._proven)

    def network(self, network: UNet, *, mature: bool = False, share: float = _TOGETHER) -> Selection:
        """Score a network, by itself and together with its classifier.

        The classifier then has this `share`. A `mature` one, which has had its time, is shown unless it is surely worse: a
        few held-out strokes can hardly prove that it is better. One that is distilled from the classifier is not shown before
        that.
        """
        if not self.windows:
            return self._unscored(network, share, mature=mature)
        immature = self._policy.distilled and not mature and not self._proven
        self._proven = self._proven or mature
        own = self._computed(network.convolved, bfloat16=self._policy.bfloat16)
        if not all(logits.isfinite().all() for logits in own):
            return Selection(_ALONE, None, False)  # the largest of them says nothing
        if self._simple is None:
            return self._progress(self._evidence(own), _ALONE)
        new = self._evidence(self._mixed(own, share))
        if not self._policy.distilled:
            alone = self._evidence(own)
            if likelier(alone.likelihood, new.likelihood, alone.counts):
                new, share = alone, _ALONE
        return Selection(share, new.score, False) if immature else self._progress(new, share)

    def _unscored(self, network: UNet, share: float, *, mature: bool) -> Selection:
        """Select where nothing is held out."""
        if network.pixels is None:
            return Selection(_ALONE, None, True)
        return Selection(share, None, self._trusting or (mature and self._policy.distilled))

    def _progress(self, new: Evidence, share: float) -> Selection:
        """Decide whether a network is shown.

        It is compared with the best of those before it.
        """
        better = self._beats_classifier(new) and (
            self._shown is None or not_worse(new.counts, self._shown.counts)
        )
        if better and (self._shown is None or (not self._policy.marked and new.score > self._shown.score)):
            self._shown = new
        return Selection(share, new.score, better)

    def _beats_classifier(self, new: Evidence) -> bool:
        old = self._simple
        if old is None:
            return True
        if not not_worse(new.counts, old.counts):
            return False
        if self._proven:  # then it is the classifier that must be surely better
            return not likelier(old.likelihood, new.likelihood, new.counts)
        return likelier(new.likelihood, old.likelihood, new.counts)

    def _mixed(self, own: list[torch.Tensor], share: float) -> list[torch.Tensor]:
        return [share * a + (1 - share) * b for a, b in zip(self._logits, own, strict=True)]

    @torch.inference_mode()
    def _computed(
        self, part: Callable[[torch.Tensor], torch.Tensor], *, bfloat16: bool = False
    ) -> list[torch.Tensor]:
        logits = []
        for image, _ in self.windows:
            with torch.autocast(image.device.type, torch.bfloat16, enabled=bfloat16):
                logits.append(part(image).float())
        return logits

    def _evidence(self, logits: list[torch.Tensor]) -> Evidence:
        """Compare logits with the labels, at their best temperature.

        Else an answer that is less sure of everything would seem better than one that is too sure (Guo 2017, arXiv:1706.04599).
        """
        rows = [_labelled(each.cpu(), target) for each, (_, target) in zip(logits, self.windows, strict=True)]
        counts = np.stack([_counts(own, truth) for own, truth in rows])
        every = [np.stack([_likelihood(own * t, truth) for own, truth in rows]) for t in _TEMPERATURES]
        return Evidence(counts, max(every, key=lambda sums: mean_likelihood(sums, counts)))


def _labelled(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Pick logits (M, K) and class indices (M,) of the labelled voxels."""
    labelled = target != IGNORE
    return logits.movedim(1, -1)[labelled], target[labelled].numpy().astype(np.int64)


def _counts(rows: torch.Tensor, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count voxels (K true, K predicted)."""
    classes = rows.shape[1]
    joint = truth * classes + rows.argmax(1).numpy()
    return np.bincount(joint, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def _likelihood(rows: torch.Tensor, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum the log-likelihood (K,) of the labelled voxels, by class."""
    logs = torch.log_softmax(rows, 1).clamp_min(float(np.log(_LEAST))).numpy()
    own = logs[np.arange(len(truth)), truth].astype(np.float64)
    return np.bincount(truth, own, minlength=rows.shape[1]).astype(np.float64)
