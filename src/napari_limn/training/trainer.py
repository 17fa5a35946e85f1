"""The training loop: from strokes to the best model that held-out strokes can tell, within a time budget."""

from __future__ import annotations

import math
import time
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.device import channels_last, choose_device, fast_bfloat16
from napari_limn.errors import LimnError
from napari_limn.events import Event, Found, Improved, Scored, Step, Warned, drain
from napari_limn.model import Model, ModelSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data import TrainingSet, gather, worth_knowing
from napari_limn.training.instant import drawing, load, teaching
from napari_limn.training.judge import Judge, Verdict
from napari_limn.training.losses import masked_loss, soft_loss
from napari_limn.training.soft_targets import guessing
from napari_limn.training.spec import TrainSpec, choose_network

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from napari_limn.annotation.classes import RGBA, Classes
    from napari_limn.training.augment import Batch
    from napari_limn.training.data import Painted

_EMA = 0.98
_RIPE = (
    0.5  # share of the budget after which a network is shown unless it is surely worse than the first answer
)
_WARM_UP = 0.05
_FIRST_SCORE = 2.0  # seconds; whoever stops early keeps something
_SCORING_SHARE = 0.1  # of the time, at most


def train(
    images: Any,
    labels: Any,
    spec: TrainSpec | None = None,
    *,
    model: Model | None = None,
    colors: Mapping[int, RGBA] | None = None,
    names: Mapping[int, str] | None = None,
    listen: Callable[[Event], object] | None = None,
) -> Model:
    """Train a model, or train `model` further, on what is painted in `labels`.

    Parameters
    ----------
    images, labels
        An image and its labels, or two lists of them: paths, arrays or volumes. Labels have the image's shape without
        channels and carry paint values; 0 means what ``spec.zero`` says.
    spec
        How long and how to train.
    model
        A model to continue from; its network, intensity recipe and classes stay, painted classes that it does not
        know are added.
    colors, names
        Colour (RGBA, 0–1) and name of paint values, saved with the model.
    listen
        Called with every event.

    Raises
    ------
    LimnError
        If images, labels and model do not fit one another.

    Examples
    --------
    >>> image = np.zeros((64, 64), np.float32); image[:32] = 1
    >>> strokes = np.zeros((64, 64), np.uint8); strokes[8, 8:56], strokes[56, 8:56] = 1, 2
    >>> train(image, strokes, TrainSpec(steps=2, patch=(32, 32))).spec.classes.values
    (1, 2)
    """
    return drain(training_events(images, labels, spec, model=model, colors=colors, names=names), listen)


def training_events(
    images: Any,
    labels: Any,
    spec: TrainSpec | None = None,
    *,
    model: Model | None = None,
    colors: Mapping[int, RGBA] | None = None,
    names: Mapping[int, str] | None = None,
) -> Generator[Event, None, Model]:
    """The run behind :func:`train`: yields events, returns the best model.

    Close the generator to stop; the model of the last :class:`~napari_limn.events.Improved` is the best until then.
    """
    spec = spec or TrainSpec()
    load()
    known = model.spec.classes if model else None
    painted = gather(images, labels, spec, known, colors or {}, names or {})
    for finding in worth_knowing(painted, spec, known):
        yield Found.of(finding)
    start = _start(spec, painted, model)
    if model is not None:
        spec = replace(spec, intensity=model.spec.intensity)
    data = TrainingSet(painted, start.spec.network, spec)
    return (yield from _Run(start, spec, data).events())


def _start(spec: TrainSpec, painted: Painted, model: Model | None) -> Model:
    """The model that training begins with: a new one, or `model` with room for classes that it did not know."""
    first = painted.images[0]
    if model is None:
        torch.manual_seed(spec.seed)
        network = choose_network(spec, first, painted.classes.count)
        unit = first.axes.units[first.axes.names.index("X")]
        return Model(
            ModelSpec(
                network=network,
                classes=painted.classes,
                intensity=spec.intensity,
                spacing=first.axes.spacing,
                unit=unit,
            ),
            UNet(network),
        )
    if model.spec.network.in_channels != first.channels:
        raise LimnError(
            f"{first.name}: found {first.channels} channels, the model expects {model.spec.network.in_channels}; "
            "choose the channels that it was trained with, or train a new model."
        )
    return with_classes(model, painted.classes)


def with_classes(model: Model, classes: Classes) -> Model:
    """A copy of `model` that knows `classes`: outputs of classes that it had are kept, new ones start like its mean."""
    old = model.spec.classes
    if classes.values == old.values:
        return replace(model.copy(), spec=replace(model.spec, classes=classes))
    more = replace(model.spec.network, out_channels=classes.count, head="softmax")
    spec = replace(model.spec, classes=classes, network=more)
    network = UNet(spec.network)
    state = {name: tensor.detach().clone() for name, tensor in model.network.state_dict().items()}
    last = f"pixels.layers.{2 * len(spec.network.pixels.hidden)}." if spec.network.pixels else "head."
    heads = [name for name in state if name.split(".")[0] in ("head", "side") or name.startswith(last)]
    for name in heads:
        had = state[name]
        if len(had) == 1:  # the one score of a sigmoid is that of the second class over the first
            had = torch.cat([torch.zeros_like(had), had])
        rows = [had[old.values.index(v)] if v in old.values else had.mean(0) for v in classes.values]
        state[name] = torch.stack(rows)
    network.load_state_dict(state)
    return Model(spec, network)


class _Run:
    """State of one training run."""

    def __init__(self, start: Model, spec: TrainSpec, data: TrainingSet) -> None:
        self.spec, self.data = spec, data
        self.device = choose_device(spec.device)
        self.bfloat16 = fast_bfloat16(self.device)
        self.start = start
        layout = channels_last(start.spec.network.ndim)
        self.network = deepcopy(start.network).to(self.device, memory_format=layout).train()  # type: ignore[call-overload]
        self.average = deepcopy(self.network).eval()
        given = spec.class_weights
        self.class_weights = torch.tensor(given, device=self.device) if given else None
        self.windows = [(x.to(self.device), y) for x, y in data.windows()]
        # the share with which the model begins that is trained further; of a new one, the classifier alone
        self.first_share = start.spec.network.share if start.spec.steps else 1.0
        self.judge = Judge(
            self.windows,
            proven=self.first_share < 1,
            trusting=spec.held_out == 0,
            taught=self._taught,
            bfloat16=self.bfloat16,
        )
        self.best: Model | None = None
        self.began = time.perf_counter()
        self.next_score = _FIRST_SCORE
        self.steps = 0

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of the network's weights; made at the first step, since the first answer does not wait for its import."""
        learning = [p for name, p in self.network.named_parameters() if not name.startswith("pixels.")]
        return torch.optim.AdamW(learning, lr=self.spec.rate, weight_decay=1e-2)

    @property
    def _taught(self) -> bool:
        """Whether the network learns from the classifier what to say between strokes."""
        return (
            self.start.network.pixels is not None
            and self.spec.zero == "unlabelled"
            and self.spec.soft_targets > 0
        )

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def done(self) -> float:
        """Share of the budget spent."""
        return min(1.0, self.steps / self.spec.steps if self.spec.steps else self.seconds / self.spec.seconds)

    def events(self) -> Generator[Event, None, Model]:
        if not self.windows and self.spec.held_out:
            stays = (
                ", and the first answer stays" if self.average.pixels is not None and not self._taught else ""
            )
            yield Warned(
                f"There is too little paint to hold any out, so nothing scores the model{stays}; "
                "paint more strokes of each class."
            )
        yield from self._answer()
        if self.start.spec.steps:
            yield from self._score()  # further training must beat what was there
        while self.done < 1 or not self.steps:
            loss = self._step()
            yield Step(self.steps, self.seconds, loss, self.done)
            if self.done == 1 or self._score_is_due():
                yield from self._score()
        return self.best or self._snapshot(None, 0.0)

    def _score_is_due(self) -> bool:
        """With a time budget, every two seconds or less often where scoring takes long; otherwise twenty times."""
        if self.spec.steps:
            return self.steps % max(1, self.spec.steps // 20) == 0
        return self.seconds >= self.next_score

    def _step(self) -> float:
        """One optimiser step; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.rate * _schedule(self.done)
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
        return loss + self.spec.soft_targets * soft_loss(logits, batch.soft, batch.targets)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights, and the statistics of batch norm, towards the trained ones."""
        keep = min(_EMA, self.steps / (self.steps + 9))
        for mean, value in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    def _answer(self) -> Generator[Event, None, None]:
        """Fit the pixel classifier: what is shown until the network is better.

        It learns all strokes. What it is worth is told by a twin that has not seen the held-out ones, which also gives the
        network its soft targets: by those of one that knows what is held out, the network would hear of it.
        """
        if self.average.pixels is None or self.network.pixels is None:
            return
        classifier = deepcopy(self.average.pixels).cpu()
        sample = yield from drawing(classifier, self.data, self.spec.seed)
        yield from teaching(classifier, sample, self.spec.seed)
        for network in (self.network, self.average):
            network.pixels.load_state_dict(classifier.state_dict())
        self.best = self._snapshot(None, self.first_share)
        yield Improved(self.best)
        if self.windows:
            yield from teaching(classifier, sample.without_held(), self.spec.seed)
            yield from self._keep(self.judge.classifier(deepcopy(classifier).to(self.device)))
        if self._taught:
            self.data.soft_targets = yield from guessing(classifier, self.data, self.spec.seed)

    def _score(self) -> Generator[Event, None, None]:
        """Score the averaged network, by itself and with the classifier, and keep what held-out strokes prefer."""
        before = self.seconds
        yield from self._keep(self.judge.network(self.average, ripe=self.done >= _RIPE))
        self.next_score = self.seconds + max(_FIRST_SCORE, (self.seconds - before) / _SCORING_SHARE)

    def _keep(self, verdict: Verdict) -> Generator[Event, None, None]:
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


def _schedule(done: float) -> float:
    """Learning rate, as a share of its peak, after a share of the budget: warm-up, then half a cosine."""
    return min(1.0, (done + 1e-3) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
