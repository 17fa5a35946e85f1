"""The model that a training begins with: new, or trained further."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_limn.model import Model, ModelSpec
from napari_limn.network.unet import UNet
from napari_limn.training.planning.resolve import network_with
from napari_limn.training.random_stream import RandomStream

if TYPE_CHECKING:
    from napari_limn.annotation.classes import Classes
    from napari_limn.training.planning.resolve import Resolved
    from napari_limn.volume.volume import Volume


def initial_model(
    resolved: Resolved, image: Volume, classes: Classes, model: Model | None
) -> tuple[Model, RandomStream]:
    """Make the model that training begins with, and what draws its weights.

    A new one, or `model` with room for classes that it did not know. The run goes on drawing from the same stream.

    Parameters
    ----------
    resolved
        What the run goes by.
    image
        The first of the images; a new model remembers its voxel size.
    classes
        Those of the data.
    model
        To train further.
    """
    spec = ModelSpec(
        network=resolved.network,
        classes=classes,
        intensity=resolved.spec.intensity,
        spacing=image.axes.spacing,
        unit=image.axes.units[image.axes.names.index("X")],
    )
    random = RandomStream(resolved.spec.seed, resolved.device)
    with random.lent():
        start = Model(spec, UNet(spec.network)) if model is None else with_classes(model, classes)
    return start, random


def with_classes(model: Model, classes: Classes) -> Model:
    """Copy a model so that it knows these classes.

    Outputs of classes that it had stay, new ones start like its mean.
    """
    old = model.spec.classes
    if classes.values == old.values:
        return replace(model.copy(), spec=replace(model.spec, classes=classes))
    spec = replace(model.spec, classes=classes, network=network_with(model.spec, classes))
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
