"""What a training in the window runs in its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn._napari.layers.class_table import given_legend
from napari_limn._napari.layers.layers import volume_of
from napari_limn._napari.training.findings import stopping
from napari_limn.errors import LimnError
from napari_limn.volume.reading.open import open_labels
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Labels

    from napari_limn.model import Model
    from napari_limn.runs import Event
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
