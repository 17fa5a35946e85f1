"""Training: from strokes to the best model, within a budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.annotation.findings import Found
from napari_limn.model import Model, ModelSpec
from napari_limn.network.unet import UNet
from napari_limn.runs import Event, Warned, drain
from napari_limn.training.data.painted import collect_training_data, warnings_for
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer.fit import load
from napari_limn.training.resolve import continued, network_with, resolve
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from napari_limn.annotation.classes import Classes
    from napari_limn.training.resolve import Resolved
    from napari_limn.volume.volume import RGBA, Volume


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
    """Train a new model, or `model` further, on painted labels.

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
    """Run a training: yields events, returns the best model; :func:`train` drains it.

    Close the generator to stop; the model of the last :class:`~napari_limn.training.events.Improved` is the best until then.
    """
    spec = continued(spec or TrainSpec(), model)
    load()
    known = model.spec.classes if model else None
    painted = collect_training_data(images, labels, spec, known, colors or {}, names or {})
    for finding in warnings_for(painted, spec, known):
        yield Found.of(finding)
    if model is not None:
        yield from (Warned(line) for image in painted.images for line in model.spec.spacing_warnings(image))
    resolved = resolve(spec, painted.images[0], painted.classes, model)
    start = initial_model(resolved, painted.images[0], painted.classes, model)
    return (yield from TrainingRun(start, resolved, TrainingSet(painted, resolved)).learning())


def initial_model(resolved: Resolved, image: Volume, classes: Classes, model: Model | None) -> Model:
    """Make the model that training begins with.

    A new one, or `model` with room for classes that it did not know.

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
    torch.manual_seed(resolved.spec.seed)
    if model is not None:
        return with_classes(model, classes)
    spec = ModelSpec(
        network=resolved.network,
        classes=classes,
        intensity=resolved.spec.intensity,
        spacing=image.axes.spacing,
        unit=image.axes.units[image.axes.names.index("X")],
    )
    return Model(spec, UNet(resolved.network))


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
