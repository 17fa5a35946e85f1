"""What a training in the window runs in its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn._napari.layers.class_table import given_legend
from napari_limn._napari.layers.layers import volume_of
from napari_limn.annotation.checkup import checkup
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.runs import Event, Working
from napari_limn.volume.reading.open import open_labels
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Labels

    from napari_limn.model import Model
    from napari_limn.runs import Event
    from napari_limn.specs import DeviceName
    from napari_limn.training.spec import TrainSpec


def training(
    image: Volume, labels: Labels, spec: TrainSpec, origin: Model | None
) -> Generator[Event, None, Any]:
    """The run; PyTorch is imported in its thread, so the window opens and answers without it."""
    legend, seen = given_legend(labels), volume_of(labels)

    def events() -> Generator[Event, None, Any]:
        from napari_limn.training.trainer import training_events

        try:
            return (
                yield from training_events(
                    image,
                    labels_on(image, seen),
                    spec,
                    model=origin,
                    colors=legend.colors,
                    names=legend.names,
                )
            )
        except LimnError:
            yield from stopping(image, seen, spec, origin)
            raise

    return events()


def labels_on(image: Volume, seen: Volume) -> Volume:
    """Labels of an image: the array of a layer with the image's axes, or as the layer has them, if these are fewer or more.

    Raises
    ------
    LimnError
        If such do not fit.
    """
    axes = image.axes.without("C")
    same = len(seen.axes.names) == len(axes.names)
    return Volume.of(seen.data, axes, seen.name) if same else open_labels(seen, image)


def diagnosing(device: DeviceName) -> Generator[Event, None, str]:
    """What ``napari-limn diagnose`` says, as a run."""
    from napari_limn.report.diagnose import diagnose

    yield Working()
    return str(diagnose(device))


def stopping(
    image: Volume, labels: Volume, spec: TrainSpec, model: Model | None = None
) -> Generator[Event, None, None]:
    """Tell what stops a training, of a model further or anew, in the words of the error, with what mends it."""
    known, dims = (model.spec.classes.values, model.spec.network.ndim) if model else ((), spec.dims)
    found = checkup(image, labels, zero=spec.zero, dims=dims, objects=spec.objects, known=known, shown=True)
    yield from (Found.of(finding) for finding in found if finding.stops)
