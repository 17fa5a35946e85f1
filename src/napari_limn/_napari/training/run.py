"""What a training in the window runs in its thread. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn.annotation.checkup import checkup
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.runs import Event, Working
from napari_limn.volume.reading.open import open_labels
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_limn.annotation.legend import Legend
    from napari_limn.model import Model
    from napari_limn.specs import DeviceName
    from napari_limn.training.spec import TrainSpec


def training(
    image: Volume, labels: Volume, legend: Legend, spec: TrainSpec, origin: Model | None
) -> Generator[Event, None, Any]:
    """Train.

    PyTorch is imported in the thread of the run, so the window opens and answers without it.
    """
    from napari_limn.training.trainer import training_events

    try:
        return (
            yield from training_events(
                image,
                labels_on(image, labels),
                spec,
                model=origin,
                colors=legend.colors,
                names=legend.names,
            )
        )
    except LimnError:
        yield from stopping(image, labels, spec, origin)
        raise


def labels_on(image: Volume, labels: Volume) -> Volume:
    """Give labels the axes of an image, if they have as many.

    Others are opened as labels of a file are.

    Raises
    ------
    LimnError
        If such do not fit.
    """
    return open_labels(labels, image) if (own := axis_by_axis(image, labels)) is None else own


def axis_by_axis(image: Volume, labels: Volume) -> Volume | None:
    """Give labels the axes of an image, one by one.

    So layers are shown, whatever their axes are called.

    None if they have another number of axes, or the same ones in another order.
    """
    axes, names = image.axes.without("C"), labels.axes.names
    swapped = set(names) == set(axes.names) and labels.grid == image.grid and labels.extent != image.extent
    if len(names) != len(axes.names) or swapped:
        return None
    place = labels.placement.with_names(axes.names) if labels.channels == 1 else None
    return Volume(labels.data, axes, labels.name, place=place)


def diagnosing(device: DeviceName) -> Generator[Event, None, str]:
    """Do as a run what ``napari-limn diagnose`` does."""
    from napari_limn.report.diagnose import diagnose

    yield Working()
    return str(diagnose(device))


def stopping(
    image: Volume, labels: Volume, spec: TrainSpec, model: Model | None = None
) -> Generator[Event, None, None]:
    """Report what stops a training, with its remedies.

    The words are those of the error.
    """
    known, dims = (model.spec.classes.values, model.spec.network.ndim) if model else ((), spec.dims)
    labels = axis_by_axis(image, labels) or labels
    findings = checkup(
        image, labels, zero=spec.zero, dims=dims, objects=spec.objects, known=known, shown=True
    )
    yield from (Found.of(finding) for finding in findings if finding.stops)
