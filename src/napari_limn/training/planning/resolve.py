"""A spec, the data and a model, resolved once for a run.

Why: all that depends on the processor, on the voxel size or on the network is decided here, before the first step. Data, learner and
selection read the record; none of them looks at a preset or asks for a device again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_limn.device import choose_device, fast_bfloat16
from napari_limn.errors import LimnError
from napari_limn.network.footprint import footprint
from napari_limn.training.planning.extents import CELL, GAP, on_tzyx, patch_size
from napari_limn.training.planning.presets import choose_network
from napari_limn.training.selection import SelectionPolicy
from napari_limn.training.spec import CONTEXT, PATCH

if TYPE_CHECKING:
    import torch

    from napari_limn.annotation.classes import Classes
    from napari_limn.model import Model, ModelSpec
    from napari_limn.network.spec import UNetSpec
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """All that a training run goes by.

    Extents are voxels along T, Z, Y and X.

    Parameters
    ----------
    spec
        What was asked for, and what a model decides that is trained further.
    network
        The network to train, with the channels and classes of the data.
    device, bfloat16
        Where the network computes, and whether it does so in bfloat16.
    patch, window
        Extent of the output for a training patch, and the least one in which held-out strokes are scored.
    shrink, step
        Footprint of the network: what it cuts off each side, and by how much larger outputs grow.
    voxel
        Extents of a voxel; along Z, Y and X in pixels along X.
    cell, gap
        Extent of the pieces that filled areas are cut into, some of which are held out, and the width around these that
        training does not see either.
    class_weights
        Weight of each class in the loss; None for 1.
    first_share
        Share of the classifier in what is shown first, 0–1.
    further
        Whether the network's classifier knows something already.
    selection
        What decides whether a network is shown.
    """

    spec: TrainSpec
    network: UNetSpec
    device: torch.device
    bfloat16: bool
    patch: tuple[int, int, int, int]
    window: tuple[int, int, int, int]
    shrink: tuple[int, int, int, int]
    step: tuple[int, int, int, int]
    voxel: tuple[float, float, float, float]
    cell: tuple[int, int, int, int]
    gap: tuple[int, int, int, int]
    class_weights: tuple[float, ...] | None
    first_share: float
    further: bool
    selection: SelectionPolicy

    @property
    def ndim(self) -> int:
        """Give the number of axes of the network."""
        return self.network.ndim


def resolve(
    spec: TrainSpec,
    image: Volume,
    classes: Classes,
    model: Model | None = None,
    *,
    device: torch.device | None = None,
) -> Resolved:
    """Decide all that a training run goes by.

    Parameters
    ----------
    spec
        How to train.
    image
        The first of the images; its channels, voxel size and planes count.
    classes
        Those of the data.
    model
        To train further; None for a new one.
    device
        That of an earlier part of the same run; None chooses the one of the spec.

    Raises
    ------
    LimnError
        If the model expects other channels, the patch has other axes than the network, or the device is not there.
    """
    spec = continued(spec, model)
    network = _network(spec, image, classes, model)
    device = choose_device(spec.device) if device is None else device
    bfloat16 = fast_bfloat16(device)
    footprints = footprint(network)
    window = patch_size(network, footprints, spec.patch, image, CONTEXT, batch=spec.batch)
    # a graphics card is not busy with a small patch
    usual = PATCH if device.type == "cpu" else CONTEXT
    patch = patch_size(network, footprints, spec.patch, image, usual, batch=spec.batch)
    z, y, x = image.axes.spacing
    first_share = model.spec.network.share if model is not None and model.spec.steps else 1.0
    return Resolved(
        spec=spec,
        network=network,
        device=device,
        bfloat16=bfloat16,
        patch=patch,
        window=window,
        shrink=on_tzyx([f.shrink for f in footprints], 0),
        step=on_tzyx([f.step for f in footprints], 1),
        voxel=(1.0, z / x, y / x, 1.0),
        cell=CELL[network.ndim],
        gap=GAP[network.ndim],
        class_weights=spec.class_weights,
        first_share=first_share,
        # a model that was stopped before its first step has a classifier that knows something
        further=model is not None and (model.spec.steps > 0 or model.spec.seconds > 0),
        selection=_selection(spec, network, marked=first_share < 1, bfloat16=bfloat16),
    )


def continued(spec: TrainSpec, model: Model | None) -> TrainSpec:
    """Give the spec with what `model` decides.

    A model that is trained further keeps the axes of its network and its intensities.
    """
    if model is None:
        return spec
    return replace(
        spec, network=None, dims=3 if model.spec.network.ndim == 3 else 2, intensity=model.spec.intensity
    )


def _selection(spec: TrainSpec, network: UNetSpec, *, marked: bool, bfloat16: bool) -> SelectionPolicy:
    unlabelled = spec.zero == "unlabelled"
    return SelectionPolicy(
        marked=marked,
        trusting=spec.held_out == 0 or not unlabelled,
        distilled=network.pixels is not None and unlabelled and spec.soft_targets > 0,
        bfloat16=bfloat16,
    )


def _network(spec: TrainSpec, image: Volume, classes: Classes, model: Model | None) -> UNetSpec:
    if model is None:
        return choose_network(spec, image, classes.count)
    if model.spec.network.in_channels != image.channels:
        raise LimnError(
            f"{image.name}: found {image.channels} channels, the model expects {model.spec.network.in_channels}; "
            "choose the channels that it was trained with, or train a new model."
        )
    return network_with(model.spec, classes)


def network_with(spec: ModelSpec, classes: Classes) -> UNetSpec:
    """Give the network of a model with room for these classes."""
    if classes.values == spec.classes.values:
        return spec.network
    return replace(spec.network, out_channels=classes.count, head="softmax")
