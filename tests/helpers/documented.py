"""Small files under the names that the docs use."""

from __future__ import annotations

import json

import numpy as np
import tifffile
import zarr

import napari_limn as limn
from napari_limn.annotation.journal.files import begin_journal, header_for
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.sparse_labels import PaintStore

QUICK = {"instant": False, "preset": "fast"}
"""What a training is shortened by: no first answer, and a narrow network."""

NAMES = {1: "background", 2: "nucleus"}
BRIGHT = np.zeros((48, 48), bool)
BRIGHT[12:22, 12:22] = BRIGHT[26:40, 8:40] = True


def image(planes=None, seed=0):
    """Two bright things on a noisy ground."""
    noise = np.random.default_rng(seed).normal(60, 8, (planes or 1, *BRIGHT.shape))
    data = np.clip(noise + 120 * BRIGHT, 0, 255).astype(np.uint8)
    return data if planes else data[0]


def strokes(planes=None):
    """Paint on ground (1) and things (2), in two places each."""
    paint = np.zeros((planes or 1, *BRIGHT.shape), np.uint8)
    paint[:, 4, 4:44], paint[:, 44, 4:44] = 1, 1
    paint[:, 16, 14:20], paint[:, 33, 12:36] = 2, 2
    return paint if planes else paint[0]


def write_files(folder):
    """Write what the commands of the docs read."""
    write_images(folder)
    write_labels(folder)
    (folder / "images.csv").write_text("image\na.tif\nb.tif\n")
    (folder / "pairs.csv").write_text("image,labels\na.tif,a_mask.tif\nb.tif,b_mask.tif\n")
    (folder / "quick.json").write_text(json.dumps(QUICK))
    spec = limn.TrainSpec(steps=4, patch=(16, 16), **QUICK)
    model = limn.train(folder / "stack.tif", folder / "strokes.tif", spec, names=NAMES)
    model.save(folder / "cells.limn")
    model.save(folder / "old.limn")
    write_journal(folder / "stack.tif")


def write_images(folder):
    micrometers = {"metadata": {"axes": "ZYX", "spacing": 2.0, "unit": "um"}, "resolution": (2.0, 2.0)}
    tifffile.imwrite(folder / "stack.tif", image(4), imagej=True, **micrometers)
    (folder / "plate7").mkdir()
    for seed, name in enumerate(("a.tif", "b.tif", "plate7/1.tif", "plate7/2.tif")):
        tifffile.imwrite(folder / name, image(seed=seed))
    write_zarr(folder / "big.ome.zarr", image(4))
    write_zarr(folder / "image.ome.zarr", image())


def write_labels(folder):
    tifffile.imwrite(folder / "strokes.tif", strokes(4))
    for name in ("labels.tif", "truth.tif"):
        tifffile.imwrite(
            folder / name, np.stack([1 + BRIGHT.astype(np.uint8)] * 4), imagej=True, metadata={"axes": "ZYX"}
        )
    tifffile.imwrite(
        folder / "a_objects.tif", BRIGHT.astype(np.uint8) + np.tri(48, k=-1, dtype=np.uint8) * BRIGHT
    )
    tifffile.imwrite(folder / "b_truth.tif", 1 + BRIGHT.astype(np.uint8))
    for name in "ab":
        tifffile.imwrite(folder / f"{name}_strokes.tif", strokes())
        tifffile.imwrite(folder / f"{name}_mask.tif", BRIGHT.astype(np.uint8))


def write_zarr(path, data):
    """Write an OME-Zarr 0.5 of one level."""
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", shape=data.shape, chunks=(1, 32, 32)[-data.ndim :], dtype=data.dtype)[:] = data
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.5][-data.ndim :]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"[-data.ndim :]]
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}


def write_journal(path):
    """Write the journal of two strokes on an image."""
    header = header_for(limn.open_volume(path), path, "strokes", "uint8")
    recording = Recording(lambda: begin_journal(header), PaintStore(header.shape))
    recording.painted([StrokePiece(((0, 1), (4, 5), (4, 44)), None, 1)])
    recording.painted([StrokePiece(((1, 2), (33, 34), (12, 36)), None, 2)])
    recording.close()
