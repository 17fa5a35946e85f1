"""The loop of a run: it answers, learns and is judged, and goes on when there is more paint."""

from __future__ import annotations

import math
import time
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.device import channels_last, choose_device, fast_bfloat16
from napari_limn.model import Model
from napari_limn.network.unet import UNet
from napari_limn.runs import Event, Warned
from napari_limn.training.events import Improved, Scored, Step
from napari_limn.training.first_answer.distillation import pseudo_labels
from napari_limn.training.first_answer.fit import fit_classifier, forgotten_classes
from napari_limn.training.first_answer.sample import is_large, sample_voxels
from napari_limn.training.losses import masked_loss, soft_loss
from napari_limn.training.selection import Judge, Selection, maturity, share_beside

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data.augment import Batch
    from napari_limn.training.data.training_set import TrainingSet
    from napari_limn.training.first_answer.fit import Fit
    from napari_limn.training.first_answer.sample import FeatureCache, VoxelSample
    from napari_limn.training.spec import TrainSpec

_EMA = 0.98
_FUSED = ("cpu", "cuda")  # devices for which there is an optimiser that goes over all weights at once
# share of the budget, or age, after which a network is shown unless it is surely worse than the first answer
_MATURE, _MATURE_STEPS = 0.5, 150
_WARM_UP = 0.05
_FADED = 0.25  # of the weight of soft targets, that stays however old the network is
_ON: tuple[Fit, ...] = ("on",)
_AGAIN: tuple[Fit, ...] = ("again",)
_FRESH: tuple[Fit, ...] = ("anew", "on", "on")  # a new classifier learns from what it said itself, too
_TWIN = _FRESH[:2]
_FIRST_SCORE = 2.0  # seconds; whoever stops early keeps something
_SCORING_SHARE = 0.1  # of the time, at most
_APPOINTING_SHARE = 0.2  # of the time, at most, where data change again and again


class TrainingRun:
    """State of one training run, whose data may be exchanged between two steps.

    Parameters
    ----------
    start
        The model that it begins with.
    spec, data
        How to train, and on what.
    after
        A run on the same images, whose features of voxels are taken over.
    """

    def __init__(
        self, start: Model, spec: TrainSpec, data: TrainingSet, after: TrainingRun | None = None
    ) -> None:
        self.spec, self.data, self.start = spec, data, start
        self.device = choose_device(spec.device)
        self.bfloat16 = fast_bfloat16(self.device)
        layout = channels_last(start.spec.network.ndim)
        self.network = deepcopy(start.network).to(self.device, memory_format=layout).train()  # type: ignore[call-overload]
        self.average = deepcopy(self.network).eval()
        self._followed = [network.state_dict().values() for network in (self.average, self.network)]
        given = spec.class_weights
        self.class_weights = torch.tensor(given, device=self.device) if given else None
        # the share with which the model begins that is trained further; of a new one, the classifier alone
        self.first_share = start.spec.network.share if start.spec.steps else 1.0
        self.best: Model | None = None
        # one that was stopped before its first step has a classifier that knows something
        self._further = start.spec.steps > 0 or start.spec.seconds > 0
        self.steps = 0
        self._ran = 0.0
        self._since: float | None = None
        self._begins = (0, 0.0)  # steps and seconds at which the budget began
        self._judge = Judge([])
        self._judged: TrainingSet | None = None  # what the judge knows
        self._scoring: Generator[Event, None, None] | None = None  # goes on when the data are exchanged
        self._due, self._next_score, self._next_judge = True, _FIRST_SCORE, 0.0
        self._classifier = deepcopy(start.network.pixels)  # learns all strokes
        self._twin: PixelClassifier | None = None  # has not seen those held out
        self._known: FeatureCache = {}
        if after is not None and after.start.spec.network.pixels == start.spec.network.pixels:
            self._known = after._known
        self._sample: VoxelSample | None = None

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of the network's weights; made at the first step, since the first answer does not wait for its import."""
        learning = [p for name, p in self.network.named_parameters() if not name.startswith("pixels.")]
        fused = self.device.type in _FUSED
        return torch.optim.AdamW(learning, lr=self.spec.rate, weight_decay=1e-2, fused=fused)

    @property
    def _taught(self) -> bool:
        """Whether the network learns from the classifier what to say between strokes."""
        return self._classifier is not None and self.spec.zero == "unlabelled" and self.spec.soft_targets > 0

    # ---- the budget ----------------------------------------------------------------------------------------------
    @property
    def seconds(self) -> float:
        """Time spent in :meth:`learning`."""
        return self._ran + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def done(self) -> float:
        """Share of the budget spent since the data are what they are."""
        return min(1.0, self._share(self.steps - self._begins[0], self.seconds - self._begins[1]))

    def _share(self, steps: int, seconds: float) -> float:
        return steps / self.spec.steps if self.spec.steps else seconds / self.spec.seconds

    def renew(self, data: TrainingSet) -> None:
        """Learn from other data from now on, with a whole budget before it; of the same images and the same classes."""
        self.data, self._begins = data, (self.steps, self.seconds)

    # ---- the loop ------------------------------------------------------------------------------------------------
    def learning(self) -> Generator[Event, None, Model]:
        """Answer, then learn until the budget is spent; returns the best model.

        May be closed at any time. Called again after :meth:`renew` it goes on where it was, even amid a scoring.
        """
        self._since = time.perf_counter()
        try:
            yield from self._answer()
            # read once a step: whatever takes the time of an event in between, the last step is scored
            spent = self.done == 1 and self.steps > self._begins[0]
            while self._due or self._scoring or not spent or self.done < 1:
                if self._scoring is None and self._due:
                    self._scoring, self._due = self._score(), False
                if self._scoring is None:
                    loss = self._step()
                    spent = (done := self.done) == 1
                    self._due = spent or self._is_due()
                    yield Step(self.steps, self.seconds, loss, done)
                elif (event := next(self._scoring, None)) is not None:
                    yield event
                else:
                    self._scoring = None
        finally:
            self._ran, self._since = self.seconds, None
        return self.best or self._snapshot(None, 0.0)

    def _is_due(self) -> bool:
        """With a time budget, every two seconds or less often where scoring takes long; otherwise twenty times."""
        if self.spec.steps:
            return self.steps % max(1, self.spec.steps // 20) == 0
        next_time = self._next_score if self._judged is self.data else max(self._next_score, self._next_judge)
        return self.seconds >= next_time

    def _step(self) -> float:
        """One optimiser step; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.rate * _schedule(self.done, self._share(self.steps, self.seconds))
        batch = self.data.batch().to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            heads = self.network.supervised(batch.images)
        loss = torch.stack([self._loss(logits, batch) for logits in heads]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        self._follow()
        return float(loss.detach())

    def _loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        loss = masked_loss(self.spec.loss, logits, batch.targets, batch.weights, self.class_weights)
        if batch.soft is None:
            return loss
        # a grown network is better than its teacher, and too much like it if that goes on
        fade = max(_FADED, _MATURE_STEPS / max(_MATURE_STEPS, maturity(self.steps, self.data.size)))
        return loss + fade * self.spec.soft_targets * soft_loss(logits, batch.soft, batch.targets)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights, and the statistics of batch norm, towards the trained ones.

        Those of a model that is trained further are an average already, which few steps do not push aside.
        """
        steps = self.start.spec.steps + self.steps
        keep = min(_EMA, steps / (steps + 9))
        for mean, value in zip(*self._followed, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    # ---- the first answer ----------------------------------------------------------------------------------------
    def _answer(self) -> Generator[Event, None, None]:
        """Fit the pixel classifier to all strokes: what is shown until the network is better."""
        if self.spec.held_out:
            yield from self._warned_of_scores()
        if self._classifier is None:
            return
        given = _AGAIN if self._further else _FRESH
        if given == _FRESH and self.best is None and is_large(self._classifier, self.data):
            few = yield from sample_voxels(
                self._classifier, self.data, self.spec.seed, self._known, quick=True
            )
            yield from fit_classifier(self._classifier, few, self.spec.seed)
            yield Improved(self._answered(self._classifier))
            self.best = None
        self._sample = yield from sample_voxels(self._classifier, self.data, self.spec.seed, self._known)
        if given == _AGAIN and self.best is None:
            yield from self._warned_of_forgetting(self._classifier, self._sample)
        said = None
        for how in given if self.best is None else _ON:
            said = yield from fit_classifier(
                self._classifier, self._sample, self.spec.seed, how=how, before=said
            )
            yield Improved(self._answered(self._classifier))

    def _warned_of_scores(self) -> Generator[Event, None, None]:
        """Say what scores will not tell."""
        if not self.data.holds_out:
            share = self.best.spec.network.share if self.best else self.first_share
            alone = self._classifier is not None and not self._taught and share == 1
            stays = ", and the first answer stays" if alone and self.spec.zero == "unlabelled" else ""
            yield Warned(
                f"There is too little paint to hold any out, so nothing scores the model{stays}; "
                "paint more strokes of each class."
            )
        elif names := self.data.unscored():
            yield Warned(
                f"{', '.join(names)}: too little paint to hold any out, so the score says nothing of it; paint more strokes of it."
            )

    def _warned_of_forgetting(
        self, classifier: PixelClassifier, sample: VoxelSample
    ) -> Generator[Event, None, None]:
        """Name the classes that the strokes of now, and what lies around them, show nothing of."""
        values = self.start.spec.classes.values
        names = [self.start.spec.classes.name_of[values[k]] for k in forgotten_classes(classifier, sample)]
        if names:
            yield Warned(
                f"{', '.join(names)}: found neither strokes nor anything like it near the new strokes, so the model is going to "
                "forget it; paint some of it, or train on all images at once (napari-limn train, or Python)."
            )

    def _answered(self, classifier: PixelClassifier) -> Model:
        """What is shown now that the classifier has learnt these strokes."""
        for network in (self.network, self.average):
            _exchange(network, classifier)
        if self.best is None:
            self.best = self._snapshot(None, self.first_share)
        else:  # with the network that held-out strokes were for, not the one of now
            self.best = self.best.copy()
            _exchange(self.best.network, classifier)
        return self.best

    # ---- what is shown -------------------------------------------------------------------------------------------
    def _score(self) -> Generator[Event, None, None]:
        """Score the averaged network, by itself and with the classifier, and keep what held-out strokes prefer."""
        if self._judged is not self.data:
            yield from self._appoint(self.data, self._sample)
        if not self.start.spec.steps and not self.steps:
            return  # it has learnt nothing yet
        before = self.seconds
        learnt = maturity(self.start.spec.steps + self.steps, self.data.size)
        mature = learnt >= _MATURE_STEPS or self._share(self.steps, self.seconds) >= _MATURE
        share = share_beside(learnt)
        yield from self._keep(self._judge.network(self.average, mature=mature, share=share))
        self._next_score = self.seconds + max(_FIRST_SCORE, (self.seconds - before) / _SCORING_SHARE)

    def _appoint(self, data: TrainingSet, sample: VoxelSample | None) -> Generator[Event, None, None]:
        """A judge for these data, who knows what the classifier is worth: a twin tells that has not seen what is held out."""
        before = self.seconds
        windows = [(x.to(self.device), y) for x, y in data.windows()]
        proven = (self.best.spec.network.share if self.best else self.first_share) < 1
        judge = Judge(
            windows,
            proven=proven,
            marked=self.first_share < 1,
            trusting=self.spec.held_out == 0 or self.spec.zero == "background",
            taught=self._taught,
            bfloat16=self.bfloat16,
        )
        verdict = None
        if windows and self._classifier is not None and sample is not None:
            seen = sample.without_held()
            twin, fits = self._twin_for(seen, self._classifier)
            for how in fits:
                yield from fit_classifier(twin, seen, self.spec.seed, how=how)
            self._twin = twin
            verdict = judge.classifier(deepcopy(twin).to(self.device))
        if proven and self.best is not None:
            # what is shown sets the mark for what comes, and stays unless it is surely worse than the classifier
            shown = deepcopy(self.best.network).to(self.device)
            stays = judge.network(shown, share=self.best.spec.network.share)
            verdict = verdict and replace(verdict, better=not stays.better)
            if stays.score is not None:
                self.best = replace(self.best, spec=replace(self.best.spec, score=stays.score))
        self._judge, self._judged = judge, data
        if verdict is not None:
            yield from self._keep(verdict)
        if self._taught and self._classifier is not None:
            # not the twin: where it misses a kind of background, it would teach the network to miss it
            guesses = yield from pseudo_labels(self._classifier, data, self.spec.seed)
            data.soft_targets = self.data.soft_targets = guesses  # which may have been exchanged meanwhile
        self._next_judge = self.seconds + (self.seconds - before) / _APPOINTING_SHARE

    def _twin_for(
        self, seen: VoxelSample, classifier: PixelClassifier
    ) -> tuple[PixelClassifier, tuple[Fit, ...]]:
        """Who has not seen what is held out, and how it is taught the rest."""
        if self._twin:
            return self._twin, _ON
        known = self.start.network.pixels
        painted = np.setdiff1d(seen.target, [IGNORE])
        if self._further and known is not None and len(painted) < known.classes:
            # from corrections of some classes it would learn that there are no others
            return deepcopy(known), _AGAIN
        return deepcopy(classifier), _TWIN

    def _keep(self, verdict: Selection) -> Generator[Event, None, None]:
        """Keep the averaged model, with the classifier's share of the verdict, if that is for it.

        While the classifier is shown, the network that learns beside it is kept too: whoever goes on later goes on from it.
        """
        if verdict.better:
            self.best = self._snapshot(verdict.score, verdict.share)
            yield Improved(self.best)
        elif self.best is not None and not self.best.spec.network.convolves:
            self.best = self._snapshot(self.best.spec.score, 1.0)
            yield Improved(self.best)
        if verdict.score is not None:
            yield Scored(self.steps, self.seconds, verdict.score, verdict.better)

    def _snapshot(self, score: float | None, share: float) -> Model:
        before = self.start.spec
        network = replace(before.network, share=share) if before.network.pixels else before.network
        spec = replace(
            before,
            steps=before.steps + self.steps,
            seconds=before.seconds + self.seconds,
            score=score,
            network=network,
        )
        weights = UNet(network)
        weights.load_state_dict(self.average.state_dict())
        return Model(spec, weights.eval())


def _exchange(network: UNet, classifier: PixelClassifier) -> None:
    """Give a network what a classifier has learnt."""
    if network.pixels is not None:
        network.pixels.load_state_dict(classifier.state_dict())


def _schedule(done: float, begun: float) -> float:
    """Learning rate, as a share of its peak, after shares of the budget: half a cosine, and a warm-up only at the beginning."""
    return min(1.0, (begun + 1e-3) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
