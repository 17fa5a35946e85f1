"""Layers to volumes and back: scale, units and colours cross here."""

from __future__ import annotations

import os
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

from napari_limn._napari.layers.facts import LayerFacts, facts_of, note, set_facts
from napari_limn._napari.layers.layer_classes import opaque, with_clear_background
from napari_limn._napari.layers.plain_text import literal
from napari_limn.annotation.classes import Classes, default_color
from napari_limn.errors import LimnError
from napari_limn.volume.axes import NAMES, Axes, default_names, unit_name
from napari_limn.volume.placement import NEAR, Placement, distance
from napari_limn.volume.volume import Volume, size_in_bytes, stack_channels, voxels_apart
from napari_limn.volume.writing.array_output import labels_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_limn.volume.volume import RGBA

_IN_MEMORY = 2 << 30
PLAIN = 64 << 20
"""Bytes up to which labels that the user paints on are a plain numpy array."""

_OPACITY = 0.5  # of a prediction: what it says, and what is below, are both seen


def volume_of(layer: Layer) -> Volume:
    """Give a layer as a volume: finest level, scale, translation, units."""
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
    return Volume(data, axes, layer.name, place=place_of(layer, names.removesuffix("C") if rgb else names))


def place_of(layer: Layer, names: str) -> Placement:
    """Give where a layer is seen, whatever turns, mirrors or shears it.

    `names` are those of its axes.
    """
    return Placement.seen(names, tuple(unit_name(str(u)) for u in layer.units), layer.data_to_world)


def _axis_names(layer: Layer, ndim: int) -> str:
    """Take axis letters from axis labels, or the number of dimensions."""
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
    """Stack image layers, in their order, as channels of one volume."""
    return stack_channels([volume_of(layer) for layer in layers])


def path_of(layer: Layer) -> Path | None:
    """Give the local file or folder that a layer was read from."""
    path = layer.source.path
    return Path(path).absolute() if path and "://" not in str(path) else None


def volume_on_disk(layer: Layer) -> Volume:
    """Give a layer as a volume with its file.

    Nothing may be written over that.
    """
    return replace(volume_of(layer), path=path_of(layer))


def painted_look(layer: Labels, values: Iterable[int] | None = None) -> dict[int, RGBA]:
    """Look up the colours of `values`, or of all possible paint.

    That is 1 to 255, and the value chosen now.
    """
    shown = layer.colormap
    if shown.use_selection:  # only the chosen value is in sight, the others have their colours all the same
        shown = shown.model_copy(update={"use_selection": False})
    wanted = {*range(1, 256), int(layer.selected_label)} if values is None else set(values)
    # one by one: napari compiles code of its own, 0.4 s long, for an array of them
    return {value: _color(shown.map(value), value) for value in wanted - {0}}


def _color(mapped: Any, value: int) -> RGBA:
    red, green, blue, _ = (float(c) for c in mapped)
    if (
        mapped[3] == 0 and not red + green + blue
    ):  # out of sight, and not as a background that keeps its colour
        return default_color(value)
    return red, green, blue, 1.0


def empty_labels(image: Volume, dtype: Any) -> Any:
    """Make an array of zeros for the labels of an image.

    It is of numpy, or where that is large a Zarr in a temporary folder.
    """
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
    """Find the index of a new layer above an image.

    It is below the first layer that is to lie `over` it, or else on top.
    """
    layers = list(viewer.layers)  # as they are: napari gives plugins a stand-in of a single one
    start = layers.index(image) if image in layers else 0
    return next((i for i in range(start + 1, len(layers)) if over(layers[i])), len(layers))


def active_layer(viewer: ViewerModel) -> Layer | None:
    """Find the layer that is active, and no stand-in of it.

    napari gives plugins stand-ins, of another type, for layers that are got by index or as the active one. Those met by
    iterating are real.
    """
    active = viewer.layers.selection.active
    return next((layer for layer in viewer.layers if layer == active), None)


def being_renamed(viewer: ViewerModel) -> bool:
    """Return whether two layers have one name.

    napari then renames one of them at once, and announces it; until then, forms would mix them up.
    """
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
    """Show `data` as the prediction for an image layer.

    It lies `below` another layer, or between image and paint, below maps too, and lets the image through. Painting is not
    interrupted. It is called after the image and the `kind` of prediction. `data` is an array, or with `multiscale` a list of them,
    the finest first. A prediction shown earlier for the same layer is replaced, so that repeated predictions do not pile up.
    """
    remove_earlier(viewer, image, kind)
    layer = Labels(
        data,
        name=f"{image.name} {kind}",
        colormap=colormap(with_clear_background(classes.color_of, classes.name_of)),
        multiscale=multiscale,
        opacity=_OPACITY,
        **named(classes.name_of, LayerFacts.of(image, model=model, kind=kind)),
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
    """Give metadata for what a model made of an image.

    Call :func:`note_name` once the layer is shown.
    """
    return LayerFacts.of(image, model=model, kind=kind).to_metadata()


def note_name(layer: Layer) -> None:
    """Note the name under which the window shows a layer.

    napari changes a name that is taken.
    """
    note(layer, name=layer.name)


def note_file(layer: Layer, path: Path) -> None:
    """Note the file that a layer shows.

    It still shows that file when the user paints on it.
    """
    note(layer, file=str(path))


def shows_file(layer: Layer, path: Path) -> bool:
    """Return whether a layer shows this file, whatever links lead there."""
    file = facts_of(layer).file
    return file is not None and os.path.realpath(file) == os.path.realpath(path)


def refuse_kept(viewer: ViewerModel, path: Path) -> None:
    """Refuse to write over a file that a kept layer shows.

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
    """Return whether a layer may be replaced.

    It is as it was shown then: not renamed, not painted on, no copy.
    """
    return bool(facts_of(layer).name == layer.name)


def remove_earlier(viewer: ViewerModel, image: Layer, kind: str) -> None:
    """Remove earlier results of an image that the user left untouched."""
    for layer in filter(is_untouched, list(viewer.layers)):
        facts = facts_of(layer)
        if facts.kind == kind and facts.belongs_to(image):
            viewer.layers.remove(layer)


def hand_over(layer: Labels) -> None:
    """Let a prediction become a layer that the user paints on.

    Its name says so, unless the user renamed it.
    """
    facts, own_name = facts_of(layer), is_untouched(layer)
    set_facts(layer, facts.handed_over())
    if isinstance(layer.colormap, DirectLabelColormap):  # paint is seen, background too
        known = layer.colormap.color_dict
        layer.colormap = colormap(opaque(known), tuple(known.get(None, (0.0,) * 4)))
    if own_name:
        layer.name = f"{facts.image} corrected"


def take_into_memory(layer: Labels) -> None:
    """Read what a layer shows of a file into memory.

    It stays when the file is written over.
    """
    layer.data = np.array(layer.data)  # what a lazy array gives may be another's, or read-only
    note(layer, file=None)


def image_of(viewer: ViewerModel, layer: Layer) -> Image | None:
    """Find the image that a layer belongs to; None if gone."""
    facts = facts_of(layer)
    images = (x for x in viewer.layers if type(x) is Image and not is_map(x))
    return next(filter(facts.belongs_to, images), None)


def insert_unchosen(viewer: ViewerModel, index: int, layer: Layer) -> None:
    """Add a layer while the active one stays chosen.

    Where none is active, the new one is chosen.

    napari chooses a new layer. Neither that nor the way back is announced, since each shows a layer's controls and costs 10 ms.
    """
    selection = viewer.layers.selection
    if (active := active_layer(viewer)) is None:
        viewer.layers.insert(index, layer)
        return
    with selection.events.blocker_all():
        viewer.layers.insert(index, layer)
        selection.active = active


def finest(layer: Image | Labels) -> Any:
    """Give the array of a layer; of a pyramid its finest level."""
    return layer.data[0] if layer.multiscale else layer.data


def is_made_here(layer: object) -> bool:
    """Return whether something is a layer that shows what was computed here.

    Layers say so until the user paints on one. A panel that chose such a layer, because there was no other, gives it up when a
    layer of the user's comes.
    """
    return facts_of(layer).is_made_here


def is_painted(layer: Layer) -> bool:
    """Return whether a layer holds paint: labels not computed here."""
    return type(layer) is Labels and not is_made_here(layer)


def is_map(layer: Layer) -> bool:
    """Return whether a layer is an image computed here, such as uncertainty."""
    return type(layer) is Image and is_made_here(layer)


def named(names: Mapping[int, str], facts: LayerFacts | None = None) -> dict[str, Any]:
    """Give features and metadata for labels whose values have names.

    The status bar shows them under the mouse. `facts` is what else is known of the layer.
    """
    facts = replace(facts or LayerFacts(), class_names=dict(names))
    return {"features": class_features(names), "metadata": facts.to_metadata()}


def class_features(names: Mapping[int, str], zero: str = "not labelled") -> dict[str, list[Any]]:
    """Give features for a labels layer: the name of each value.

    `zero` is that of 0 where `names` has none.
    """
    known = {0: zero, **names}
    return {"index": sorted(known), "class": [literal(known[value]) for value in sorted(known)]}


def layer_axes(image: Image, volume: Volume) -> str:
    """Give the axis letters of an image layer.

    It is the only or first channel of `volume`.
    """
    return volume.axes.names.removesuffix("C")[-image.ndim :]


def placement(image: Image, volume: Volume) -> dict[str, Any]:
    """Give transforms, units and axis labels for labels of an image."""
    own = [i for i, name in enumerate(layer_axes(image, volume)) if name != "C"]
    place: dict[str, Any] = {
        "scale": np.asarray(image.scale)[own],
        "translate": np.asarray(image.translate)[own],
        "units": tuple(image.units[i] for i in own),
        "axis_labels": tuple(image.axis_labels[i] for i in own),
    }
    if len(own) == image.ndim:
        return place | {"rotate": image.rotate, "shear": image.shear, "affine": image.affine}
    # without an axis, rotation and shear cannot be copied; what they do to the other axes can
    world = place_of(image, layer_axes(image, volume))
    affine = np.eye(len(own) + 1)
    affine[:-1, :-1] = world.matrix / place["scale"]
    affine[:-1, -1] = world.offset - affine[:-1, :-1] @ place["translate"]
    return place | {"affine": affine}


def lies_on(layer: Layer, image: Layer) -> bool:
    """Return whether a layer is seen where an image is.

    Both have the same extent, channels apart, and axes count one by one, as they are shown.
    """
    one, other = volume_of(layer), volume_of(image)
    if len(one.placement.names) != len(other.placement.names):
        return voxels_apart(one, other) <= NEAR
    return distance(one.placement.with_names(other.placement.names), other.placement, other.extent) <= NEAR


def colormap(colors: Mapping[int, RGBA], other: RGBA = (0.0, 0.0, 0.0, 0.0)) -> DirectLabelColormap:
    """Make a colormap; 0 and values without a colour are clear."""
    known: dict[int | None, RGBA] = {None: other, 0: (0.0, 0.0, 0.0, 0.0)}
    return DirectLabelColormap(color_dict=known | dict(colors))
