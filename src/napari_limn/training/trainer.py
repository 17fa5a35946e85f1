"""Training: from strokes to the best model, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003 checked evaluates annotations
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.findings import Found
from napari_limn.arguments import checked
from napari_limn.model import Model  # noqa: TC001 checked evaluates annotations
from napari_limn.runs import Event, Warned, drain
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer.fit import load
from napari_limn.training.planning.initial_model import initial_model
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.volume import RGBA  # noqa: TC001 checked evaluates annotations

if TYPE_CHECKING:
    from collections.abc import Generator


@checked
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


@checked
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
    spec, known = spec or TrainSpec(), model.spec if model else None
    spec.refuse_other_network(known.network if known else None)
    load()
    painted = collect_training_data(images, labels, spec, known, colors or {}, names or {})
    yield from map(Found.of, painted.warnings)
    resolved = resolve(spec, painted.images[0], painted.classes, model)
    start, random = initial_model(resolved, painted.images[0], painted.classes, model)
    yield from (Warned(line) for image in painted.images for line in start.spec.spacing_warnings(image))
    data = TrainingSet(painted, resolved)
    return (yield from TrainingRun(start, resolved, data, random, once=True).learning())
