"""The first answer of a run, and what it is worth.

Why: the classifier that is shown learns all strokes, since with few of them, holding some out can cost a whole kind of background. What
it is worth is judged by another one, which has not seen those held out. The network's soft targets come from the first, since the
other would teach it what it misses. See docs/design/0005-first-answer-and-network.md.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.annotation.classes import IGNORE
from napari_limn.runs import Event, Warned
from napari_limn.training.events import Improved
from napari_limn.training.first_answer.distillation import pseudo_labels
from napari_limn.training.first_answer.fit import fit_classifier, forgotten_classes
from napari_limn.training.first_answer.sample import is_large, sample_voxels

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn.model import Model
    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data.regions import RegionReader
    from napari_limn.training.data.soft_targets import SoftTargets
    from napari_limn.training.first_answer.fit import Fit
    from napari_limn.training.first_answer.sample import FeatureCache, VoxelSample
    from napari_limn.training.planning.resolve import Resolved

    Fits = tuple[Fit, ...]

_ON: Fits = ("on",)
_AGAIN: Fits = ("again",)
_FRESH: Fits = ("anew", "on", "on")  # a new classifier learns from its own answers, too
_HELD_OUT: Fits = _FRESH[:2]


class FirstAnswer:
    """The pixel classifier of a run, fitted to the strokes of now.

    There is none where the network has none.

    Parameters
    ----------
    start
        The model that the run begins with; it stays as it is.
    resolved
        What the run goes by.
    after
        The first answer of a run on the same images, whose features of voxels are taken over.
    """

    def __init__(self, start: Model, resolved: Resolved, after: FirstAnswer | None = None) -> None:
        self._start, self._resolved = start, resolved
        self.classifier = deepcopy(start.network.pixels)
        self._held_out_classifier: PixelClassifier | None = None  # to judge only
        self.sample: VoxelSample | None = None  # what was learnt last
        self._answered = False  # with all strokes that there were
        self._features: FeatureCache = {}
        if after is not None and after._start.spec.network.pixels == start.spec.network.pixels:
            self._features = after._features

    def fit(
        self, regions: RegionReader, show: Callable[[PixelClassifier, bool], Model]
    ) -> Generator[Event, None, None]:
        """Fit the classifier to all strokes, and show each answer.

        Parameters
        ----------
        regions
            What is painted.
        show
            Makes the model that is shown out of the classifier, and whether all strokes were answered before.
        """
        if self.classifier is None:
            return
        seed, fits = self._resolved.spec.seed, _AGAIN if self._resolved.further else _FRESH
        if self._answered:
            fits = _ON
        elif fits == _FRESH and is_large(self.classifier, regions):
            few = yield from sample_voxels(self.classifier, regions, seed, self._features, quick=True)
            yield from fit_classifier(self.classifier, few, seed)
            yield Improved(show(self.classifier, False))
        self.sample = yield from sample_voxels(self.classifier, regions, seed, self._features)
        if fits == _AGAIN:
            yield from self._forgetting(self.classifier, self.sample)
        answers = None
        for how in fits:
            answers = yield from fit_classifier(self.classifier, self.sample, seed, how=how, before=answers)
            model = show(self.classifier, self._answered)
            self._answered = True
            yield Improved(model)

    def _forgetting(self, classifier: PixelClassifier, sample: VoxelSample) -> Generator[Event, None, None]:
        """Name the classes that the strokes of now do not show.

        Nor does anything around them.
        """
        classes = self._start.spec.classes
        names = [classes.name_of[classes.values[k]] for k in forgotten_classes(classifier, sample)]
        if names:
            yield Warned(
                f"{', '.join(names)}: found neither strokes nor anything like it near the new strokes, so the model is going to "
                "forget it; paint some of it, or train on all images at once (napari-limn train, or Python)."
            )

    def fit_held_out(self, sample: VoxelSample | None) -> Generator[Event, None, PixelClassifier | None]:
        """Fit the classifier that has not seen the held-out strokes.

        It is used to judge only. None where there is none.
        """
        if self.classifier is None or sample is None:
            return None
        rest = sample.without_held()
        classifier, fits = self._held_out_start(self.classifier, rest)
        for how in fits:
            yield from fit_classifier(classifier, rest, self._resolved.spec.seed, how=how)
        self._held_out_classifier = classifier
        return classifier

    def _held_out_start(self, classifier: PixelClassifier, rest: VoxelSample) -> tuple[PixelClassifier, Fits]:
        """Choose where the held-out classifier begins, and its fits."""
        if self._held_out_classifier:
            return self._held_out_classifier, _ON
        known = self._start.network.pixels
        painted = np.setdiff1d(rest.target, [IGNORE])
        if self._resolved.further and known is not None and len(painted) < known.classes:
            # from corrections of some classes it would learn that there are no others
            return deepcopy(known), _AGAIN
        return deepcopy(classifier), _HELD_OUT

    def soft_targets(self, regions: RegionReader) -> Generator[Event, None, SoftTargets | None]:
        """Ask the classifier about voxels that nobody painted.

        The network learns its answers. None where it learns none.
        """
        if self.classifier is None or not self._resolved.selection.distilled:
            return None
        # not the held-out classifier: where it misses a kind of background, it would teach the network to miss it
        return (yield from pseudo_labels(self.classifier, regions, self._resolved.spec.seed))
