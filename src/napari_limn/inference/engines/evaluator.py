"""A model made ready to compute, exactly, whatever cuts the volume.

What a tile gives equals what one pass over the whole image gives there. Two conditions make it so (and the tests break
each in turn): tiles begin on multiples of the network's coarsest stride, so that every tile pools the same voxels
together, and they hold at least the network's field of view around what is kept. At the true border of the image a tile
ends where the image ends, so the network pads there as it would with the whole image; a network without padding reads
the reflected image beyond it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import torch

from napari_limn.device import channels_last
from napari_limn.inference.streaming.extents import footprints_on_grid
from napari_limn.inference.streaming.kernels import packed
from napari_limn.network.folding import folded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.network.unet import UNet
    from napari_limn.volume.intensity import Scaling
    from napari_limn.volume.volume import Volume

_COMPARED = 8  # classes


class Evaluator:
    """A model made ready: norms folded, on its device, in its precision.

    Parameters
    ----------
    model
        Stays as it is; a copy is made ready.
    volume
        With the channels that the model expects.
    scaling
        Intensity numbers fitted to the whole volume.
    device, dtype
        Where and in which precision to compute.
    """

    def __init__(
        self, model: Model, volume: Volume, scaling: Scaling, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.spec, self._classes = model.spec.network, model.spec.classes
        self.volume, self.scaling, self._device, self._dtype = volume, scaling, device, dtype
        self.footprints = footprints_on_grid(self.spec)
        self._layout = channels_last(self.spec.ndim)
        network = folded(deepcopy(model.network))
        network = network.to(device, dtype).to(memory_format=self._layout)  # type: ignore[call-overload]
        self.network: UNet = packed(network)
        self.check: Callable[[], object] = int  # called before every layer; may raise
        self.unscored = 0
        """Voxels labelled by now that have a score which is not finite."""
        own = ref(self)  # a circle would keep the weights until the garbage collector comes

        def checked(*_: object) -> None:
            if (ready := own()) is not None:
                ready.check()

        for module in self.network.modules():
            module.register_forward_pre_hook(checked)

    def scaled(self, part: NDArray[Any]) -> NDArray[np.float32]:
        """Scale what was read, as a batch of the network.

        (N, C, …) of (C, T, Z, Y, X).
        """
        scaled = self.scaling.apply(part)
        batch = scaled[:, 0][None] if self.spec.ndim == 3 else np.moveaxis(scaled[:, 0], 0, 1)
        return np.ascontiguousarray(batch)

    def on_device(self, batch: NDArray[np.float32]) -> torch.Tensor:
        """Move a batch to where, and as, the network takes it.

        To a CUDA card it is copied while the card computes (not run by the authors).
        """
        tensor = torch.from_numpy(batch)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, self._dtype, non_blocking=True).to(memory_format=self._layout)

    def tensor(self, part: NDArray[Any]) -> torch.Tensor:
        """Convert what was read, (C, T, Z, Y, X), for the network."""
        return self.on_device(self.scaled(part))

    def labels(self, logits: torch.Tensor) -> NDArray[Any]:
        """Return the paint values of a batch of scores.

        Of shape (T, Z, Y, X); 0 where a score is not finite, and such voxels are counted.
        """
        indices = most_likely(logits).cpu().numpy()
        values = self._classes.to_values(indices if self.spec.ndim == 3 else indices[None])
        if (unscored := without_score(logits)) is not None:
            self.unscored += int(unscored.sum())
            values[unscored.cpu().numpy().reshape(values.shape)] = 0
        return values

    def probabilities(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Return the class probabilities (K, T, Z, Y, X) of logits.

        All 0 where a logit is not finite.
        """
        shares = logits.float().softmax(1)
        if (unscored := without_score(logits)) is not None:
            shares.masked_fill_(unscored[:, None], 0)
        return self.on_grid(shares)

    def on_grid(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Return a batch of scores as (K, T, Z, Y, X)."""
        values = logits.float().cpu().numpy()
        return values[0][:, None] if self.spec.ndim == 3 else np.moveaxis(values, 1, 0)[:, None]


def without_score(scores: torch.Tensor) -> torch.Tensor | None:
    """Find voxels (N, …) with a score that is NaN or infinite.

    None where all scores (N, K, …) are finite: one look at their sum says so, which takes a thousandth of the time of a network.
    """
    if scores.sum(dtype=torch.float32).isfinite():
        return None
    finite = scores.isfinite().all(1)
    return None if finite.all() else ~finite


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """Return the index of the largest of the logits.

    (N, …) of (N, K, …): the first of equal ones, in as few bytes as hold it.

    A few classes are compared one after the other: on a CPU that takes a third of the time of an argmax.
    """
    count = logits.shape[1]
    kind = torch.uint8 if count <= 256 else torch.int32
    if count > _COMPARED or logits.device.type != "cpu":
        return logits.argmax(1).to(kind)
    best, place = logits[:, 0], torch.zeros_like(logits[:, 0], dtype=kind)
    for k in range(1, count):
        place.masked_fill_(logits[:, k] > best, k)
        best = torch.maximum(best, logits[:, k])
    return place
