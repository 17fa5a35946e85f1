"""Layers to volumes and back: scale, units and colours cross here."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_limn.annotation.classes import Classes, default_color
from napari_limn.errors import LimnError
from napari_limn.volume.axes import NAMES, Axes, default_names, unit_name
from napari_limn.volume.volume import Volume, size_in_bytes, stack_channels
from napari_limn.volume.writing.output import labels_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_limn.volume.volume import RGBA

_IN_MEMORY = 2 << 30
PLAIN = 64 << 20
"""Bytes up to which labels that a person paints on are a plain numpy array."""

_OPACITY = 0.5  # of a prediction: what it says, and what is below, are both seen
MADE_BY = "napari-limn"
"""Key in the metadata of layers made here."""

ZERO_MEANS = "napari-limn zero"
"""Key in the metadata of labels layers; holds what a 0 of them means in training, where somebody said so."""

CLASS_NAMES = "napari-limn classes"
"""Key in the metadata of labels layers; holds the names of their values."""

IMAGE = "napari-limn image"
"""Key in the metadata of layers that a person paints on; holds the name of the image that they were made for."""

_FILE = "napari-limn file"  # key in the metadata of labels layers; holds the file that they show


def volume_of(layer: Layer) -> Volume:
    """A layer as a volume: finest level, with the layer's scale, translate and units."""
    data = finest(layer)
    rgb = isinstance(layer, Image) and layer.rgb
    names = _axis_names(layer, len(data.shape) - rgb) + ("C" if rgb else "")
    tail = (1.0,) if rgb else ()
    axes = Axes(
        names,
        tuple(float(abs(s)) or 1.0 for s in layer.scale) + tail,
        tuple(unit_name(str(u)) for u in layer.units) + (("pixel",) if rgb else ()),
        tuple(float(t) for t in layer.translate) + ((0.0,) if rgb else ()),
    )
    return Volume(data, axes, layer.name)


def _axis_names(layer: Layer, ndim: int) -> str:
    """Axis letters from the layer's axis labels if they are such, else by the number of dimensions."""
    letters = "".join(str(label).upper()[:1] for label in layer.axis_labels)
    known = len(set(letters)) == ndim and set(letters) <= set(NAMES) and {"Y", "X"} <= set(letters)
    if known:
        return letters
    if ndim > 4:
        raise LimnError(
            f"{layer.name}: found {ndim} dimensions without names, expected axis labels such as t, z, y, x."
        )
    return default_names((1,) * ndim)


def image_volume(layers: Sequence[Image]) -> Volume:
    """Image layers as the channels of one volume, in the order given."""
    return stack_channels([volume_of(layer) for layer in layers])


def path_of(layer: Layer) -> Path | None:
    """The file or folder on this machine that a layer was read from."""
    found = layer.source.path
    return Path(found).absolute() if found and "://" not in str(found) else None


def volume_on_disk(layer: Layer) -> Volume:
    """A layer as a volume that knows the file it was read from, which nothing may be written over."""
    return replace(volume_of(layer), path=path_of(layer))


def painted_look(layer: Labels, values: Iterable[int] | None = None) -> dict[int, RGBA]:
    """Colours of `values`, or else of all that a person may have painted: 1 to 255, and the one chosen now."""
    shown = layer.colormap
    if shown.use_selection:  # only the chosen value is in sight, the others have their colours all the same
        shown = shown.model_copy(update={"use_selection": False})
    wanted = {*range(1, 256), int(layer.selected_label)} if values is None else set(values)
    # one by one: napari compiles code of its own, 0.4 s long, for an array of them
    return {value: _color(shown.map(value), value) for value in wanted - {0}}


def _color(found: Any, value: int) -> RGBA:
    if found[3] == 0:
        return default_color(value)
    red, green, blue, _ = (float(c) for c in found)
    return red, green, blue, 1.0


def empty_labels(image: Volume, dtype: Any) -> Any:
    """An array of zeros for the labels of an image: numpy, or a Zarr in a temporary folder when that is large."""
    shape = labels_shape(image)
    if size_in_bytes(shape, dtype) <= _IN_MEMORY:
        return np.zeros(shape, dtype)
    chunks = tuple(
        min(n, 512) if name in "YX" else 1
        for n, name in zip(shape, image.axes.without("C").names, strict=True)
    )
    folder = tempfile.mkdtemp(prefix="limn-", suffix=".zarr")
    array = zarr.create_array(folder, shape=shape, chunks=chunks, dtype=dtype, fill_value=0, overwrite=True)
    weakref.finalize(array, shutil.rmtree, folder, ignore_errors=True)
    return array


def under(viewer: ViewerModel, image: Layer, over: Callable[[Layer], bool]) -> int:
    """Where the first of the layers above an image is that are to lie `over` a new one; the top if there is none."""
    layers = list(viewer.layers)  # as they are: napari gives plugins a stand-in of a single one
    start = layers.index(image) if image in layers else 0
    return next((i for i in range(start + 1, len(layers)) if over(layers[i])), len(layers))


def active_layer(viewer: ViewerModel) -> Layer | None:
    """The layer that is active, and no stand-in of it."""
    active = viewer.layers.selection.active
    return next((layer for layer in viewer.layers if layer == active), None)


def being_renamed(viewer: ViewerModel) -> bool:
    """Whether two layers have one name: napari gives the renamed one another at once, and tells so; until then, forms would mix them up."""
    names = [layer.name for layer in viewer.layers]
    return len(set(names)) < len(names)


def show_labels(
    viewer: ViewerModel,
    image: Image,
    volume: Volume,
    data: Any,
    classes: Classes,
    model: str,
    *,
    multiscale: bool = False,
    kind: str = "labels",
    below: Layer | None = None,
) -> Labels:
    """Show `data` as the prediction for an image layer, in its place in the world and in the painted colours.

    It lies `below` another layer, or between image and paint, below maps too, and lets the image through; who paints goes on painting. It is called
    after the image and the `kind` of prediction. `data` is an array, or with `multiscale` a list of them, the finest first. A
    prediction shown earlier for the same layer is replaced, so that repeated predictions do not pile up.
    """
    remove_earlier(viewer, image, kind)
    look = named(classes.name_of)
    look["metadata"] |= made_by(model, image, kind)
    layer = Labels(
        data,
        name=f"{image.name} {kind}",
        colormap=colormap(classes.color_of),
        multiscale=multiscale,
        opacity=_OPACITY,
        **look,
        **placement(image, volume),
    )
    at = under(viewer, image, lambda x: is_map(x) or (is_painted(x) if below is None else x is below))
    active = active_layer(viewer)
    if active is not None and is_painted(active):
        insert_unchosen(viewer, at, layer)
    else:
        viewer.layers.insert(at, layer)
    note_name(layer)
    return layer


def made_by(model: str, image: Layer, kind: str) -> dict[str, Any]:
    """Metadata of a layer that a model made of an image; see :func:`note_name`, too."""
    return {MADE_BY: {"model": model, "image": image.name, "kind": kind}}


def note_name(layer: Layer) -> None:
    """Note the name under which the window shows a layer that was made here: there may have been one of its own name."""
    layer.metadata[MADE_BY]["name"] = layer.name


def note_file(layer: Layer, path: Path) -> None:
    """Note the file that a layer which was made here shows; a person may paint on it, and it shows that file all the same."""
    layer.metadata[_FILE] = str(path)


def shows_file(layer: Layer, path: Path) -> bool:
    """Whether that was noted of a layer."""
    return bool(layer.metadata.get(_FILE) == str(path))


def refuse_kept(viewer: ViewerModel, path: Path) -> None:
    """Refuse to write over a file that a layer shows which the person kept, or paints on.

    Raises
    ------
    LimnError
        If there is such a layer: it would show the new labels.
    """
    for layer in viewer.layers:
        if shows_file(layer, path) and not is_untouched(layer):
            why = "is painted on" if is_painted(layer) else "was kept"
            raise LimnError(
                f"{path}: found in the layer “{layer.name}”, which {why} and would show the new labels; choose another name, or "
                "discard that layer."
            )


def is_untouched(layer: Layer) -> bool:
    """Whether a layer that was made here is as it was shown: not renamed, painted on, or a copy; such a one may be replaced."""
    return bool(layer.metadata.get(MADE_BY, {}).get("name") == layer.name)


def remove_earlier(viewer: ViewerModel, image: Layer, kind: str) -> None:
    """Remove what was made of an image before, unless somebody touched it."""
    for layer in filter(is_untouched, list(viewer.layers)):
        made = layer.metadata[MADE_BY]
        if (made["image"], made["kind"]) == (image.name, kind):
            viewer.layers.remove(layer)


def hand_over(layer: Labels) -> None:
    """Let a prediction be a layer that a person paints on; unless they named it, its name tells so."""
    made, own_name = layer.metadata[MADE_BY], is_untouched(layer)
    kept = {key: value for key, value in layer.metadata.items() if key != MADE_BY}
    layer.metadata = {**kept, IMAGE: made["image"]}
    if own_name:
        layer.name = f"{made['image']} corrected"


def take_into_memory(layer: Labels) -> None:
    """Read what a layer shows of a file: from now on it is the layer's own, and stays when the file is written over."""
    layer.data = np.array(layer.data)  # what a lazy array gives may be another's, or read-only
    layer.metadata = {key: value for key, value in layer.metadata.items() if key != _FILE}


def name_of_image(layer: Layer) -> str | None:
    """Name of the image that a layer was made of, or for; None if it was not made here."""
    found = layer.metadata.get(IMAGE, layer.metadata.get(MADE_BY, {}).get("image"))
    return None if found is None else str(found)


def insert_unchosen(viewer: ViewerModel, index: int, layer: Layer) -> None:
    """Add a layer while another one, the active one, stays chosen; the new one is where none is.

    napari chooses a new layer. Nobody is told, of that nor of the way back, since each shows its controls and costs 10 ms.
    """
    selection = viewer.layers.selection
    if (active := active_layer(viewer)) is None:
        viewer.layers.insert(index, layer)
        return
    with selection.events.blocker_all():
        viewer.layers.insert(index, layer)
        selection.active = active


def finest(layer: Image | Labels) -> Any:
    """The array of a layer; of a pyramid its finest level."""
    return layer.data[0] if layer.multiscale else layer.data


def is_painted(layer: Layer) -> bool:
    """Whether a person paints on a layer: any labels layer that was not made here."""
    return type(layer) is Labels and MADE_BY not in layer.metadata


def is_map(layer: Layer) -> bool:
    """Whether a layer shows something that was computed of every voxel, such as how unsure a model is."""
    return type(layer) is Image and MADE_BY in layer.metadata


def named(names: Mapping[int, str]) -> dict[str, Any]:
    """What to give a new labels layer so that its values have names, which the status bar shows under the mouse."""
    return {"features": class_table(names), "metadata": {CLASS_NAMES: dict(names)}}


def class_table(names: Mapping[int, str], zero: str = "not labelled") -> dict[str, list[Any]]:
    """Features of a labels layer: the name of each value, and of 0 where `names` has none."""
    known = {0: zero, **names}
    return {"index": sorted(known), "class": [known[value] for value in sorted(known)]}


def layer_axes(image: Image, volume: Volume) -> str:
    """Axis letters of an image layer's own dimensions, where `volume` has it as its only or first channel."""
    return volume.axes.names.removesuffix("C")[-image.ndim :]


def placement(image: Image, volume: Volume) -> dict[str, Any]:
    """Where labels of an image layer belong: all its transforms, units and axis labels, without a channel axis."""
    own = [i for i, name in enumerate(layer_axes(image, volume)) if name != "C"]
    found: dict[str, Any] = {
        "scale": np.asarray(image.scale)[own],
        "translate": np.asarray(image.translate)[own],
        "units": tuple(image.units[i] for i in own),
        "axis_labels": tuple(image.axis_labels[i] for i in own),
    }
    if len(own) == image.ndim:
        found |= {"rotate": image.rotate, "shear": image.shear, "affine": image.affine}
    return found


def colormap(colors: Mapping[int, RGBA], other: RGBA = (0.0, 0.0, 0.0, 0.0)) -> DirectLabelColormap:
    """Colours of label values; 0 is transparent, and so is anything else unless `other` says how it looks."""
    known: dict[int | None, RGBA] = {None: other, 0: (0.0, 0.0, 0.0, 0.0)}
    return DirectLabelColormap(color_dict=known | dict(colors))
