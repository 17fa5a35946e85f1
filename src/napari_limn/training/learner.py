"""What learns: a network, the average of its weights, and the optimiser."""

from __future__ import annotations

import math
from contextlib import nullcontext
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from napari_limn.device import channels_last
from napari_limn.errors import LimnError
from napari_limn.network.unet import UNet
from napari_limn.training.losses import masked_loss, soft_loss
from napari_limn.training.selection import MATURE, maturity

if TYPE_CHECKING:
    from napari_limn.model import Model
    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.network.spec import UNetSpec
    from napari_limn.training.budget import Budget
    from napari_limn.training.data.augment import Batch
    from napari_limn.training.planning.resolve import Resolved
    from napari_limn.training.random_stream import RandomStream

_EMA = 0.98
_FUSED = ("cpu", "cuda")  # devices for which there is an optimiser that goes over all weights at once
_WARM_UP = 0.05
_MOST_LEFT_OUT = 20  # steps one after the other that cannot be used
_FADED = 0.25  # of the weight of soft targets, that stays however mature the network is


class Learner:
    """A network that is trained step by step.

    Parameters
    ----------
    start
        The model that it begins with; it stays as it is.
    resolved
        What the run goes by.
    budget
        Whose share decides the learning rate, and that counts the steps.
    random
        That dropout draws from.
    """

    def __init__(self, start: Model, resolved: Resolved, budget: Budget, random: RandomStream) -> None:
        self._resolved, self._budget, self._steps_before = resolved, budget, start.spec.steps
        self._random = random
        layout = channels_last(resolved.ndim)
        self.network = deepcopy(start.network).to(resolved.device, memory_format=layout).train()  # type: ignore[call-overload]
        self.average = deepcopy(self.network).eval()
        self._averaged = [network.state_dict().values() for network in (self.average, self.network)]
        self._left_out = 0  # steps, up to the last one
        weights = resolved.class_weights
        self._class_weights = torch.tensor(weights, device=resolved.device) if weights else None

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Make the optimiser at the first step.

        The first answer does not wait for its import.
        """
        learning = [p for name, p in self.network.named_parameters() if not name.startswith("pixels.")]
        fused = self._resolved.device.type in _FUSED
        return torch.optim.AdamW(learning, lr=self._resolved.spec.rate, weight_decay=1e-2, fused=fused)

    def step(self, batch: Batch) -> float:
        """Take one optimiser step; returns the loss.

        A step whose loss or gradient is not finite is left out, since it would spoil all weights for good; NaN is returned then.

        Raises
        ------
        LimnError
            If that was so in many steps one after the other.
        """
        done = self._budget.done if self._budget.stepped else 0.0  # a step at rate 0 would teach nothing
        for group in self.optimizer.param_groups:
            group["lr"] = self._resolved.spec.rate * _schedule(done, self._budget.total_share)
        drops = self.network.spec.dropout > 0
        with (
            self._random.lent() if drops else nullcontext(),
            torch.autocast(self._resolved.device.type, torch.bfloat16, enabled=self._resolved.bfloat16),
        ):
            heads = self.network.supervised(batch.images)
        loss = torch.stack([self.loss(logits, batch) for logits in heads]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._budget.count_step()
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(length))):
            self._leave_out()
            return math.nan
        self._left_out = 0
        self.optimizer.step()
        self._update_average()
        return value

    @torch.no_grad()
    def _leave_out(self) -> None:
        """Restore what the forward pass of a step has spoilt."""
        self._left_out += 1
        if self._left_out >= _MOST_LEFT_OUT:
            raise LimnError(
                f"found a loss that is not finite (NaN or infinite) in {self._left_out} steps one after the other, expected numbers; train "
                f"with a rate below {self._resolved.spec.rate:g} (TrainSpec.rate), or from another model."
            )
        for mean, value in zip(*self._averaged, strict=True):  # the statistics of batch norm
            if value.is_floating_point() and not value.isfinite().all():
                value.copy_(mean)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Compute the loss of one head of the network."""
        spec = self._resolved.spec
        loss = masked_loss(spec.loss, logits, batch.targets, batch.weights, self._class_weights)
        if batch.soft is None:
            return loss
        # a mature network is better than its teacher, and too much like it if that goes on
        fade = max(_FADED, MATURE / max(MATURE, maturity(self._budget.steps, self._resolved.patch)))
        return loss + fade * spec.soft_targets * soft_loss(logits, batch.soft, batch.targets)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the averaged weights towards the trained ones.

        So are the statistics of batch norm. Those of a model that is trained further are an average already, which few steps do
        not push aside.
        """
        steps = self._steps_before + self._budget.steps
        keep = min(_EMA, steps / (steps + 9))
        for mean, value in zip(*self._averaged, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)

    def take_classifier(self, classifier: PixelClassifier) -> None:
        """Give the networks what a classifier has learnt."""
        for network in (self.network, self.average):
            set_classifier(network, classifier)

    def averaged(self, spec: UNetSpec) -> UNet:
        """Copy the averaged weights into a network of this spec."""
        with self._random.lent():  # weights that are not used; dropout goes on behind them
            network = UNet(spec)
        network.load_state_dict(self.average.state_dict())
        return network.eval()


def set_classifier(network: UNet, classifier: PixelClassifier) -> None:
    """Give a network what a classifier has learnt."""
    if network.pixels is not None:
        network.pixels.load_state_dict(classifier.state_dict())


def _schedule(done: float, begun: float) -> float:
    """Give the learning rate as a share of its peak.

    `done` and `begun` are shares of the budget. Half a cosine, and a warm-up only at the beginning.
    """
    return min(1.0, (begun + 1e-3) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
