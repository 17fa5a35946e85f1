"""The answer of the first seconds: a fitted pixel classifier.

Extremely randomised trees (Geurts 2006, doi:10.1007/s10994-006-6226-1) learn the strokes; a perceptron over the features of single
voxels then learns to answer as the trees do, at painted voxels and at others around them (model compression, Buciluă 2006,
doi:10.1145/1150402.1150464). So what is used is a network like any other: it streams, is exact and carries no trees.

What a fitted classifier is sure of becomes a pseudo-label, with less weight than paint, when it is fitted again (self-training,
Scudder 1965, doi:10.1109/TIT.1965.1053799): a stroke of one class in a place that looks unlike the others then changes the answer
there, and not wherever it looks so.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.runs import Event, Working
from napari_limn.training.first_answer.sample import PAINTED_MOST, VoxelSample

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier

_TREES, _GROUPS = 100, 10  # in as many groups, so that a user can stop in between
_OTHER_TREES = 1000  # added to the seed for trees unlike those before
_SEEDS = 1 << 32  # that trees take
_EACH = (
    1500  # painted voxels of a class that each group of trees sees: neighbours along a stroke show the same
)
_SURE = 0.8  # probability from which an answer becomes a pseudo-label
_PSEUDO_RATIO, _PSEUDO_WEIGHT = (
    4,
    0.1,
)  # as many pseudo-labels as this times the painted voxels, each with this weight
_WRONG_WEIGHT = 4.0  # of a painted voxel that the classifier got wrong
_WRONG_WEIGHT_AGAIN = 16.0  # the same after a whole training
_REMEMBERED = 50  # voxels of a class that was not painted, from which it is remembered
_STEPS, _BATCH, _RATE = 400, 4096, 1e-2
_STEPS_ON, _OTHERS_ON = 100, 20_000  # for a perceptron that knows most of it already
_PAUSE = 20  # steps between two moments to stop

Fit = Literal["anew", "again", "on"]
"""How a classifier is fitted, see :func:`fit_classifier`."""


def load() -> None:
    """Import trees and optimisers in a thread.

    It takes two seconds at the first training, beside opening images and computing features.
    """
    Thread(target=_load, name="limn imports", daemon=True).start()


def _load() -> None:
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first optimiser brings a compiler with it
    import sklearn.ensemble  # noqa: F401


def fit_classifier(
    classifier: PixelClassifier,
    sample: VoxelSample,
    seed: int = 0,
    *,
    how: Fit = "anew",
    before: NDArray[np.float32] | None = None,
) -> Generator[Event, None, NDArray[np.float32] | None]:
    """Fit a classifier to the painted voxels of a sample.

    The run can be stopped a few times a second.

    Parameters
    ----------
    classifier
        Is changed.
    sample
        Painted voxels, and others around them.
    seed
        Of the trees and the perceptron.
    how
        ``"anew"``; ``"again"``, where it was fitted before and then corrected: what it is sure of counts too, rather where it was less
        sure of that, for such answers a correction would change elsewhere; or ``"on"``, where that was to nearly the same strokes: its
        perceptron, too, goes on from what it knows, which takes a third of the time.
    before
        What the fit before this one to the same sample returned: the mean of that and of what other trees answer now is learnt.

    Returns
    -------
    NDArray[np.float32] or None
        Of a fit ``"on"``, the probabilities (N, classes) that the perceptron has learnt to give.
    """
    if how == "on":
        sample = sample.thinned(PAINTED_MOST, _OTHERS_ON, np.random.default_rng(seed))
    painted = sample.target != IGNORE
    if how == "anew":
        targets = _FitTargets.of(sample)
    else:
        targets = _FitTargets.after(classifier, sample, again=how == "again")
    trees = seed if before is None else seed + _OTHER_TREES
    answers = yield from _tree_answers(sample, targets, classifier.classes, trees)
    if before is not None:
        answers = 0.5 * answers + 0.5 * before
    answers[painted] = np.eye(classifier.classes, dtype=np.float32)[sample.target[painted]]
    random = torch.Generator().manual_seed(seed)
    features = torch.from_numpy(sample.features)
    classifier.standardise(features)
    if how != "on":
        classifier.begin(random)
    steps = _STEPS_ON if how == "on" else _STEPS
    yield from _fit_perceptron(classifier, features, torch.from_numpy(answers), random, steps)
    return answers if how == "on" else None


def forgotten_classes(classifier: PixelClassifier, sample: VoxelSample) -> list[int]:
    """List classes of which a sample shows next to nothing.

    Neither painted nor surely predicted. Fitted to that sample again, the classifier forgets them.
    """
    targets = _FitTargets.after(classifier, sample)
    shown = np.bincount(targets.classes[targets.classes != IGNORE], minlength=classifier.classes)
    return [k for k in range(classifier.classes) if shown[k] < _REMEMBERED and not (sample.target == k).any()]


@dataclass(frozen=True, slots=True, eq=False)
class _FitTargets:
    """What trees learn of N voxels.

    Parameters
    ----------
    classes
        Class indices (N,): painted ones and pseudo-labels, IGNORE elsewhere.
    weight
        Of each voxel (N,).
    doubt
        How readily each voxel is drawn (N,); None for all alike.
    """

    classes: NDArray[np.int16]
    weight: NDArray[np.float64]
    doubt: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, sample: VoxelSample) -> _FitTargets:
        """Take what is painted."""
        return cls(sample.target, np.ones(len(sample.target)))

    @classmethod
    @torch.inference_mode()
    def after(cls, classifier: PixelClassifier, sample: VoxelSample, *, again: bool = False) -> _FitTargets:
        """Take what is painted, and what a classifier is sure of.

        Paint weighs more where the classifier was wrong, pseudo-labels less.
        """
        bank = torch.from_numpy(np.ascontiguousarray(sample.features.T)).view(
            1, classifier.features, *(1,) * (classifier.ndim - 1), -1
        )
        sure, predicted = (
            part.numpy() for part in torch.softmax(classifier.logits_of(bank), 1).flatten(2)[0].max(0)
        )
        painted = sample.target != IGNORE
        pseudo = np.where(sure >= _SURE, predicted, IGNORE)
        wrong = _WRONG_WEIGHT_AGAIN if again else _WRONG_WEIGHT
        weight = np.where(painted, np.where(predicted != sample.target, wrong, 1.0), _PSEUDO_WEIGHT)
        doubt = np.sqrt(np.maximum(1 - sure, 1e-6)) if again else None
        return cls(np.where(painted, sample.target, pseudo).astype(np.int16), weight, doubt)


def _tree_answers(
    sample: VoxelSample, targets: _FitTargets, classes: int, seed: int
) -> Generator[Event, None, NDArray[np.float32]]:
    """Fit trees, and give their probabilities (N, classes) for all voxels."""
    from sklearn.ensemble import ExtraTreesClassifier  # takes a second to import

    answers, threads = np.zeros((len(targets.classes), classes), np.float32), torch.get_num_threads()
    for part in range(seed * _GROUPS, (seed + 1) * _GROUPS):
        yield Working()
        rows, weights = _drawn_voxels(sample.target, targets, np.random.default_rng(part))
        # no leaf weighs less than a painted voxel: what looks like one follows it, whatever the pseudo-labels are
        least = min(0.5, 1 / weights.sum()) if (sample.target[rows] == IGNORE).any() else 0.0
        trees = ExtraTreesClassifier(
            _TREES // _GROUPS, random_state=part % _SEEDS, n_jobs=threads, min_weight_fraction_leaf=least
        )
        trees.fit(sample.features[rows], targets.classes[rows], weights)
        answers[:, trees.classes_] += _probabilities(trees, sample.features, threads) / _GROUPS
    return answers


def _probabilities(trees: Any, features: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """Give probabilities (N, classes), the same to the last bit each time.

    The trees' own method adds them up in the order in which threads finish.
    """
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map(lambda tree: tree.predict_proba(features, check_input=False), trees.estimators_)
        mean: NDArray[np.float32] = (sum(each) / len(trees.estimators_)).astype(np.float32)
    return mean


def _drawn_voxels(
    target: NDArray[np.int16], targets: _FitTargets, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw rows that a group of trees learns, and give their weights.

    Every painted class counts as much as the others, but for its corrections.
    """
    values = [value for value in np.unique(target) if value != IGNORE]
    rows = [rng.permutation(np.flatnonzero(target == value))[:_EACH] for value in values]
    count = sum(map(len, rows))
    even = [np.full(len(own), count / len(rows) / len(own)) for own in rows]
    others = np.flatnonzero((target == IGNORE) & (targets.classes != IGNORE))
    if targets.doubt is None:
        others = rng.permutation(others)
    else:  # in an order in which each is next by its weight (Efraimidis 2006, doi:10.1016/j.ipl.2005.11.003)
        others = others[np.argsort(rng.exponential(size=len(others)) / targets.doubt[others])]
    others = others[: _PSEUDO_RATIO * count]
    every = np.concatenate([*rows, others])
    return every, np.concatenate([*even, np.ones(len(others))]) * targets.weight[every]


def _fit_perceptron(
    classifier: PixelClassifier,
    features: torch.Tensor,
    answers: torch.Tensor,
    random: torch.Generator,
    steps: int,
) -> Generator[Event, None, None]:
    """Train the perceptron to give answers (N, K) for features (N, F)."""
    rows = classifier.standard(features[(..., *(None,) * classifier.ndim)]).flatten(1)
    optimizer = torch.optim.AdamW(classifier.layers.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for step in range(steps):
        if step % _PAUSE == 0:
            yield Working()
        pick = torch.randint(len(rows), (_BATCH,), generator=random)
        logs = torch.log_softmax(classifier.columns(rows.index_select(0, pick).T), 0)
        loss = -(logs * answers.index_select(0, pick).T).sum() / _BATCH
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
