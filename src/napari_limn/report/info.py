"""What is in a file: models, images, labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_limn.inference.planning.plan import Plan
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.reading.choice import ImageEntry
    from napari_limn.volume.volume import Volume

_EXAMPLE = {2: (1, 1, 2048, 2048), 3: (1, 256, 512, 512)}  # extent (T, Z, Y, X) of an image to plan for
_FEW_VALUES = 20  # an integer image with no more values than this is shown as labels


def model_info(path: Path, memory: int | str = "2GB") -> dict[str, Any]:
    """Describe a model file.

    ``text`` for people, the rest for programs; with an example of a plan for so much memory.

    Raises
    ------
    LimnError
        If `path` is no model, or `memory` no amount of it.
    """
    from napari_limn.device import parse_bytes
    from napari_limn.model import Model
    from napari_limn.network.footprint import footprint
    from napari_limn.network.graph import graph_of
    from napari_limn.specs import to_json

    model = Model.load(path)
    spec = model.spec
    not_local = graph_of(spec.network).not_local
    footprints = footprint(spec.network)
    weights = sum(p.numel() for p in model.network.parameters())
    memory = parse_bytes(memory)
    example, planned = _example_plan(spec.network, memory)
    lines = [
        f"{path.name}: {model!r}, {weights:,} weights, {spec.network.in_channels} input channels",
        f"trained for {spec.steps} steps in {spec.seconds:.0f} s, held-out IoU {spec.score if spec.score is None else round(spec.score, 3)}",
        *(f"  value {v}: {n}" for v, n in spec.classes.name_of.items()),
        f"0 is {spec.classes.zero}; intensities scaled from percentiles {spec.intensity.low:g} and {spec.intensity.high:g}",
        f"footprint: step {[f.step for f in footprints]}, halo {[f.halo for f in footprints]}, shrink {[f.shrink for f in footprints]} voxels",
        "tile-exact: tiles equal one pass over the whole image"
        if not not_local
        else f"not tile-exact: {not_local[0]} and {len(not_local) - 1} more look at the whole tile",
        f"plan for {' × '.join(map(str, _EXAMPLE[spec.network.ndim]))} voxels in {memory / 1e9:g} GB: {planned}",
    ]
    return {
        "text": "\n".join(lines), "kind": "model", "weights": weights, "spec": to_json(spec),
        "footprint": [asdict(f) for f in footprints], "tile_exact": not not_local, "not_local": list(not_local), "plan": example and asdict(example),
    }  # fmt: skip


def _example_plan(network: UNetSpec, memory: int) -> tuple[Plan | None, str]:
    """Plan for an image of usual extent in `memory` bytes.

    Returns the plan or None, and what is to be said of it.
    """
    from napari_limn.inference.planning.plan import choose_plan

    try:
        plan = choose_plan(network, _EXAMPLE[network.ndim], memory)
    except LimnError as error:
        return None, str(error)
    return plan, str(plan)


def certify_model(path: Path, image: Volume) -> dict[str, Any]:
    """Compare a prediction of `image` in blocks with one pass.

    Measured on its middle.

    Raises
    ------
    LimnError
        If model and image do not fit.
    """
    from napari_limn.inference.pipeline import certificate
    from napari_limn.model import Model

    difference = certificate(Model.load(path), image)
    return {"text": str(difference), "exact": difference.exact, **asdict(difference)}


def plan_model(path: Path, image: Volume, memory: str | None = None) -> dict[str, Any]:
    """Plan a prediction of `image`: blocks, memory, time.

    Raises
    ------
    LimnError
        If model and image do not fit, or not even the smallest block fits into `memory`.
    """
    from napari_limn.inference.pipeline import PredictSpec, plan

    costs = plan(path, image, PredictSpec(memory=memory))
    return {"text": str(costs), **asdict(costs)}


def draw_model(
    path: Path, out: Path, size: Sequence[int] | None = None, *, overwrite: bool = False
) -> dict[str, Any]:
    """Draw the network of a model.

    For a tile of `size` ([Z,] Y, X), or for the tile that it is trained on.

    Raises
    ------
    LimnError
        If `path` is no model, `out` no PNG, or the network does not take such a tile.
    """
    from napari_limn.model import Model
    from napari_limn.report.figure import save_figure, usual_tile

    network = Model.load(path).spec.network
    tile = tuple(size) if size else usual_tile(network)
    save_figure(network, tile, out, overwrite=overwrite)
    return {
        "text": f"{out}: drawn for a tile of {' × '.join(map(str, tile))} voxels",
        "figure": str(out),
        "size": tile,
    }


def volume_info(path: Path, axes: str | None = None, image: int | str | None = None) -> dict[str, Any]:
    """Describe an image or a label file.

    ``text`` for people, the rest for programs. Where there are several images and none was chosen, they are listed.
    """
    from napari_limn.annotation.strokes import count_values
    from napari_limn.volume.decoding.pieces import MOST_FOR_SAMPLES, reading_bytes
    from napari_limn.volume.reading.open import images_at, open_volume

    if image is None and len(entries := images_at(path)) > 1:
        return _several(path, entries)
    volume = open_volume(path, axes, image)
    notes = [*volume.notes, *_unfit(volume)]
    shape = [int(n) for n in volume.data.shape]
    facts: dict[str, Any] = {
        "kind": "image" if volume.colors is None else "labels",
        "shape": shape, "dtype": str(volume.dtype), "axes": volume.axes.names,
        "scale": list(volume.axes.scale), "units": list(volume.axes.units), "levels": 1 + len(volume.levels),
        "bytes": volume.nbytes, "notes": notes,
    }  # fmt: skip
    lines = [
        f"{path.name}: {facts['kind']}, {volume.axes.names} {' × '.join(map(str, shape))}, {volume.dtype}, {volume.nbytes / 1e6:.1f} MB",
        "voxel: "
        + ", ".join(
            f"{a} {s:g} {u}"
            for a, s, u in zip(volume.axes.names, volume.axes.scale, volume.axes.units, strict=True)
        ),
    ]
    lines += notes
    small = reading_bytes(volume.data) <= MOST_FOR_SAMPLES
    if small and volume.channels == 1 and volume.dtype.kind in "bu" and volume.dtype.itemsize <= 2:
        counts = count_values(volume, _FEW_VALUES)  # an image is not read to its end
        if len(counts) <= _FEW_VALUES:
            facts["values"] = counts
            lines += [f"  value {v}: {n:,} voxels" for v, n in sorted(counts.items())]
    return facts | {"text": "\n".join(lines)}


def _several(path: Path, entries: Sequence[ImageEntry]) -> dict[str, Any]:
    """List the images of a path."""
    return {
        "text": "\n".join([f"{path.name}: {len(entries)} images; choose one with --image", *(f"  {entry}" for entry in entries)]),
        "kind": "images",
        "images": [
            {
                "image": entry.key, "path": str(entry.path), "name": entry.title, "axes": entry.axes, "shape": list(entry.shape)
            }
            for entry in entries
        ],
    }  # fmt: skip


def _unfit(volume: Volume) -> list[str]:
    """Say what keeps an image from being trained on or labelled."""
    from napari_limn.volume.intensity import refuse_no_intensities

    try:
        refuse_no_intensities(volume)
    except LimnError as error:
        return [str(error)]
    return []
