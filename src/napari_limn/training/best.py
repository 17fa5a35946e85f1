"""The best model so far: what is shown and kept."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_limn.model import Model
from napari_limn.runs import Event, Warned
from napari_limn.training.events import Improved, Scored
from napari_limn.training.learner import set_classifier
from napari_limn.training.selection import ModelSelector, Selection, is_mature, maturity, share_beside

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.budget import Budget
    from napari_limn.training.data.training_set import TrainingSet
    from napari_limn.training.first_answer.answer import FirstAnswer
    from napari_limn.training.learner import Learner
    from napari_limn.training.planning.resolve import Resolved


class BestModel:
    """Keeps network, first answer or both: what held-out strokes prefer.

    Parameters
    ----------
    start
        The model that the run begins with.
    resolved
        What the run goes by.
    learner, answer, budget
        Of the run.
    """

    def __init__(
        self, start: Model, resolved: Resolved, learner: Learner, answer: FirstAnswer, budget: Budget
    ) -> None:
        self._start, self._resolved = start.spec, resolved
        self._learner, self._answer, self._budget = learner, answer, budget
        self._selector = ModelSelector([], resolved.selection)
        self._warned = False  # of scores that are not finite
        self.model: Model | None = None
        self.data: TrainingSet | None = None  # whose held-out strokes decide

    @property
    def share(self) -> float:
        """Give the share of the classifier in what is shown."""
        return self.model.spec.network.share if self.model else self._resolved.first_share

    def current(self) -> Model:
        """Give the best model, or the averaged network of now."""
        return self.model or self._snapshot(None, 0.0)

    def warnings(self, data: TrainingSet) -> Iterator[Warned]:
        """Say what scores will not show."""
        spec, policy = self._resolved.spec, self._resolved.selection
        if not spec.held_out:
            return
        if not data.regions.holds_out:
            alone = self._answer.classifier is not None and not policy.distilled and self.share == 1
            stays = ", and the first answer stays" if alone and spec.zero == "unlabelled" else ""
            yield Warned(
                f"There is too little paint to hold any out, so nothing scores the model{stays}; "
                "paint more strokes of each class."
            )
        elif names := data.regions.unscored():
            yield Warned(
                f"{', '.join(names)}: too little paint to hold any out, so the score says nothing of it; paint more strokes of it."
            )

    def show_answer(self, classifier: PixelClassifier, answered: bool) -> Model:
        """Show what the classifier has learnt.

        It stands beside the network that is shown, if strokes were `answered` before.
        """
        self._learner.take_classifier(classifier)
        if self.model is None or not answered:
            self.model = self._snapshot(None, self._resolved.first_share)
        else:  # with the network that held-out strokes were for, not the one of now
            self.model = self.model.copy()
            set_classifier(self.model.network, classifier)
        return self.model

    def set_up(self, data: TrainingSet) -> Generator[Event, None, None]:
        """Score what is there by the held-out strokes of these data.

        They decide from now on.
        """
        sample, device = self._answer.sample, self._resolved.device
        windows = [(image.to(device), target) for image, target in data.regions.held_out_windows()]
        proven = self.share < 1
        selector, selection = ModelSelector(windows, self._resolved.selection, proven=proven), None
        held_out = (yield from self._answer.fit_held_out(sample)) if windows else None
        if held_out is not None:
            selection = selector.classifier(deepcopy(held_out).to(device))
        if proven and self.model is not None:
            # what is shown sets the mark for what comes, and stays unless it is surely worse than the classifier
            stays = selector.network(deepcopy(self.model.network).to(device), share=self.share)
            selection = selection and replace(selection, better=not stays.better)
            if stays.score is not None:
                self.model = replace(self.model, spec=replace(self.model.spec, score=stays.score))
        self._selector, self.data = selector, data
        if selection is not None:
            yield from self._keep(selection)

    def score(self) -> Generator[Event, None, None]:
        """Score the averaged network, and keep what is better."""
        learnt = maturity(self._start.steps + self._budget.steps, self._resolved.patch)
        mature = is_mature(learnt, self._budget.total_share)
        average = self._learner.average
        selection = self._selector.network(average, mature=mature, share=share_beside(learnt))
        if selection.score is None and self._selector.windows and not self._warned:
            self._warned = True
            yield Warned(
                "The network gives no finite score (NaN or infinite) for held-out strokes, so it is not shown; train with a lower rate "
                "(TrainSpec.rate), or choose images without extreme intensities."
            )
        yield from self._keep(selection)

    def _keep(self, selection: Selection) -> Generator[Event, None, None]:
        """Keep the averaged model if it was selected.

        While the classifier is shown, the network that learns beside it is kept too: further training goes on from it.
        """
        if selection.better:
            self.model = self._snapshot(selection.score, selection.share)
            yield Improved(self.model)
        elif self.model is not None and not self.model.spec.network.convolves:
            self.model = self._snapshot(self.model.spec.score, 1.0)
            yield Improved(self.model)
        if selection.score is not None:
            yield Scored(self._budget.steps, self._budget.seconds, selection.score, selection.better)

    def _snapshot(self, score: float | None, share: float) -> Model:
        """Make a model of the averaged weights of now."""
        before, network = self._start, self._start.network
        if network.pixels:
            network = replace(network, share=share)
        steps, seconds = before.steps + self._budget.steps, before.seconds + self._budget.seconds
        spec = replace(before, steps=steps, seconds=seconds, score=score, network=network)
        return Model(spec, self._learner.averaged(network))
