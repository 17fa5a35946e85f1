"""Damaged TIFFs and OME-XML are read or refused in a sentence, in bounded time and memory."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import tifffile
from fuzz import damaged, outcome

from napari_limn import open_volume
from napari_limn.report.info import volume_info
from napari_limn.volume.boxes import whole
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.sampling import sample_boxes

IMAGE = (np.indices((3, 40, 50)).sum(0) * 3).astype(np.uint8)
SOME, MANY = range(40), range(40, 2100)
FEW_VOXELS = 1 << 22  # a file that claims more is looked at in places only


def written(data=IMAGE, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, **({"photometric": "minisblack"} | options))
    return buffer.getvalue()


LAYOUTS = {
    "plain": written(),
    "imagej": written(imagej=True, resolution=(2, 2), metadata={"unit": "um", "spacing": 2.0, "axes": "ZYX"}),
    "zlib strips": written(compression="zlib", rowsperstrip=7),
    "zstd tiles": written(compression="zstd", tile=(16, 32), predictor=True),
    "big": written(bigtiff=True, byteorder=">", compression="lzw"),
    "rgb": written(np.stack([IMAGE[0]] * 3, -1), photometric="rgb", compression="packbits"),
    "ome": written(ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "nm"}),
}
OME = LAYOUTS["ome"]
XML = OME[OME.index(b"<?xml") : OME.index(b"</OME>") + 6]


def used(path):
    """Do with an image what every verb begins with."""
    volume = open_volume(path)
    for box in [whole(volume.grid)] if volume.nbytes < FEW_VOXELS else sample_boxes(volume.grid, 3):
        volume.read(box)
    if volume.nbytes < FEW_VOXELS:
        fit_scaling(volume)
        volume_info(path)


def damaged_xml(seed):
    """Give OME-XML with an attribute that says something else, or with bytes that are damaged."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.2:
        return damaged(XML, seed)
    attributes = list(re.finditer(rb'="([^"]*)"', XML))
    at = attributes[int(rng.integers(len(attributes)))]
    odd = [
        b"",
        b"0",
        b"-1",
        b"1e9",
        b"100000000",
        b"nan",
        b"x",
        b"9" * 400,
        b"../../a.tif",
        b"ZXYTC",
        "é".encode(),
        b"3.5",
    ]
    return XML[: at.start(1)] + odd[int(rng.integers(len(odd)))] + XML[at.end(1) :]


@pytest.mark.parametrize(
    "seeds", [SOME, pytest.param(MANY, marks=pytest.mark.exhaustive)], ids=["some", "many"]
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_tiffs_are_read_or_refused(tmp_path, layout, seeds):
    path = tmp_path / ("a.ome.tif" if layout == "ome" else "a.tif")
    answers = set()
    for seed in seeds[:: len(LAYOUTS)]:
        path.write_bytes(damaged(LAYOUTS[layout], seed))
        answers.add(outcome(lambda: used(path)) == "read")
    assert False in answers, "nothing was damaged enough to be refused"


@pytest.mark.parametrize(
    "seeds", [SOME, pytest.param(MANY, marks=pytest.mark.exhaustive)], ids=["some", "many"]
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_ome_xml_is_read_or_refused(tmp_path, seeds):
    path = tmp_path / "a.ome.tif"
    tail = OME[OME.index(b"</OME>") + 6 :]
    for seed in seeds:
        # the description lies behind the header; longer text is cut, shorter padded, so that all else stays where it is
        xml = damaged_xml(seed)[: len(XML)].ljust(len(XML))
        path.write_bytes(OME[: OME.index(b"<?xml")] + xml + tail)
        outcome(lambda: used(path))
