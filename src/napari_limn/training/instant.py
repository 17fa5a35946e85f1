"""The answer of the first seconds: a pixel classifier fitted to the strokes before any network has learnt.

Extremely randomised trees (Geurts 2006, doi:10.1007/s10994-006-6226-1) learn the strokes; a perceptron over the features of single
voxels then learns to answer as the trees do, at painted voxels and at others around them (model compression, Buciluă 2006,
doi:10.1145/1150402.1150464). So what is used is a network like any other: it streams, is exact and carries no trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE
from napari_limn.events import Event, Working
from napari_limn.training.data import PaintedTile
from napari_limn.volume.boxes import shape_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data import TrainingSet

_TREES, _GROUPS = 100, 10  # in as many groups, so that a person can break off
_PAINTED = 20_000  # painted voxels of a class that the trees see, at most
_OTHERS = 60_000  # further voxels whose answer the perceptron learns
_TILE = {2: (1, 1, 256, 256), 3: (1, 32, 64, 64)}
_SEEN = {2: 3_000_000, 3: 1_000_000}  # voxels whose features are computed, at most: about two seconds
_STEPS, _BATCH, _RATE = 400, 4096, 1e-2
_PAUSE = 20  # steps between two moments to break off


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Features (N, F) of voxels, their class indices (N,), IGNORE where nobody painted, and which are held out (N,)."""

    features: NDArray[np.float32]
    target: NDArray[np.int16]
    held: NDArray[np.bool_]

    def without_held(self) -> Sample:
        """The same, as if what is held out had not been painted."""
        return Sample(self.features, np.where(self.held, IGNORE, self.target).astype(np.int16), self.held)


def load() -> None:
    """Import trees and optimisers in a thread: two seconds at the first training, beside opening images and computing features."""
    Thread(target=_load, name="limn imports", daemon=True).start()


def _load() -> None:
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first optimiser brings a compiler with it
    import sklearn.ensemble  # noqa: F401


def teaching(classifier: PixelClassifier, sample: Sample, seed: int = 0) -> Generator[Event, None, None]:
    """Fit a classifier to the painted voxels of a sample; can be broken off a few times a second.

    Parameters
    ----------
    classifier
        Is changed.
    sample
        Painted voxels, and others around them.
    seed
        Of the trees and the perceptron.
    """
    painted = sample.target != IGNORE
    answers = yield from _asking_trees(sample, painted, classifier.classes, seed)
    answers[painted] = np.eye(classifier.classes, dtype=np.float32)[sample.target[painted]]
    yield from _learning(classifier, torch.from_numpy(sample.features), torch.from_numpy(answers), seed)


def _asking_trees(
    sample: Sample, painted: NDArray[np.bool_], classes: int, seed: int
) -> Generator[Event, None, NDArray[np.float32]]:
    """Probabilities (N, classes) that trees which have learnt the painted voxels give for all."""
    from sklearn.ensemble import ExtraTreesClassifier  # takes a second to import

    answers, threads = np.zeros((len(painted), classes), np.float32), torch.get_num_threads()
    for part in range(_GROUPS):
        yield Working()
        trees = ExtraTreesClassifier(
            _TREES // _GROUPS, class_weight="balanced", random_state=seed * _GROUPS + part, n_jobs=threads
        )
        trees.fit(sample.features[painted], sample.target[painted])
        answers[:, trees.classes_] += trees.predict_proba(sample.features).astype(np.float32) / _GROUPS
    return answers


def _learning(
    classifier: PixelClassifier, features: torch.Tensor, answers: torch.Tensor, seed: int
) -> Generator[Event, None, None]:
    """Train the perceptron to give the answers (N, K) for features (N, F)."""
    classifier.standardise(features)
    random = torch.Generator().manual_seed(seed)
    classifier.begin(random)
    rows = classifier.standard(features[(..., *(None,) * classifier.ndim)])
    optimizer = torch.optim.AdamW(classifier.layers.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    for step in range(_STEPS):
        if step % _PAUSE == 0:
            yield Working()
        pick = torch.randint(len(rows), (_BATCH,), generator=random)
        loss = F.cross_entropy(classifier.layers(rows[pick]).flatten(1), answers[pick])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def drawing(classifier: PixelClassifier, data: TrainingSet, seed: int = 0) -> Generator[Event, None, Sample]:
    """The painted voxels, and about as many others as are wanted, from tiles with paint; `seed` is that of the choice."""
    rng = np.random.default_rng(seed)
    tiles = _chosen(data.painted_tiles(_TILE[data.ndim]), classifier.margin, rng)
    parts = []
    for tile in tiles:
        yield Working()
        target, held = (a.ravel() for a in data.targets_of(tile.source, tile.box))
        painted = np.flatnonzero(target != IGNORE)
        others = rng.integers(len(target), size=_OTHERS // len(tiles) + 1)
        pick = np.concatenate([painted, others[target[others] == IGNORE]])
        bank = data.features_of(tile.source, tile.box, classifier)
        parts.append((bank.reshape(len(bank), -1)[:, pick].T, target[pick], held[pick]))
    return _thinned(Sample(*map(np.concatenate, zip(*parts, strict=True))), rng)


def _thinned(sample: Sample, rng: np.random.Generator) -> Sample:
    """At most so many painted voxels of each class, and all others."""
    keep = []
    for value in np.unique(sample.target):
        found = np.flatnonzero(sample.target == value)
        keep.append(found if value == IGNORE else rng.permutation(found)[:_PAINTED])
    pick = np.concatenate(keep)
    return Sample(sample.features[pick], sample.target[pick], sample.held[pick])


def _chosen(tiles: list[PaintedTile], margin: tuple[int, ...], rng: np.random.Generator) -> list[PaintedTile]:
    """Tiles in random order, those that show a class for the first time in front; as many as there is time for."""
    first, later, seen = list[PaintedTile](), list[PaintedTile](), set[int]()
    for i in rng.permutation(len(tiles)):
        (first if set(tiles[i].classes) - seen else later).append(tiles[i])
        seen |= set(tiles[i].classes)
    chosen, left = list[PaintedTile](), _SEEN[len(margin)]
    for tile in first + later:
        extent = shape_of(tile.box)[-len(margin) :]
        left -= prod(n + 2 * m for n, m in zip(extent, margin, strict=True))
        if left < 0 and len(chosen) >= len(first):
            break
        chosen.append(tile)
    return chosen
