"""Training: from strokes to the best model that held-out strokes can tell, within a time budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.model import Model, ModelSpec
from napari_limn.network.unet import UNet
from napari_limn.runs import Event, Warned, drain
from napari_limn.training.data.painted import collect_training_data, warnings_for
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer.fit import load
from napari_limn.training.presets import choose_network
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from napari_limn.annotation.classes import Classes
    from napari_limn.training.data.painted import LabelledImages
    from napari_limn.volume.volume import RGBA


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
    >>> import numpy as np
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

    Close the generator to stop; the model of the last :class:`~napari_limn.training.events.Improved` is the best until then.
    """
    spec = going_on(spec or TrainSpec(), model)
    load()
    known = model.spec.classes if model else None
    painted = collect_training_data(images, labels, spec, known, colors or {}, names or {})
    for finding in warnings_for(painted, spec, known):
        yield Found.of(finding)
    if model is not None:
        yield from (Warned(doubt) for image in painted.images for doubt in model.spec.spacing_warnings(image))
    start = initial_model(spec, painted, model)
    data = TrainingSet(painted, start.spec.network, spec)
    return (yield from TrainingRun(start, spec, data).learning())


def going_on(spec: TrainSpec, model: Model | None) -> TrainSpec:
    """The spec with what `model`, which is trained further, has decided: axes of the network and the intensity recipe."""
    if model is None:
        return spec
    return replace(
        spec, network=None, dims=3 if model.spec.network.ndim == 3 else 2, intensity=model.spec.intensity
    )


def initial_model(spec: TrainSpec, painted: LabelledImages, model: Model | None) -> Model:
    """The model that training begins with: a new one, or `model` with room for classes that it did not know."""
    first = painted.images[0]
    torch.manual_seed(spec.seed)
    if model is None:
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
