"""The picture of a network: its sizes are those of the network, and its parts are where they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_limn.errors import LimnError
from napari_limn.network.footprint import footprint
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.report.figure import draw_network, legend, save_figure, stage_sizes, usual_tile

specs = st.integers(2, 3).flatmap(
    lambda ndim: st.builds(
        UNetSpec,
        width=st.just(1),
        factors=st.lists(st.tuples(*[st.integers(1, 3)] * ndim), min_size=1, max_size=3).map(tuple),
        **{name: st.sampled_from(CHOICES[name]) for name in ("padding", "down", "up", "skip", "block")},
    )
)


def sizes_of(network, size):
    """Extent of what every node of a network gives, asked of the network itself."""
    found = {}
    for level, block in enumerate(network.encoder):
        block.register_forward_hook(
            lambda m, i, out, node=(level, 0): found.update({node: tuple(out.shape[2:])})
        )
    for name, node in network.nodes.items():
        place = tuple(map(int, name.split("_")))
        node.register_forward_hook(lambda m, i, out, node=place: found.update({node: tuple(out.shape[2:])}))
    network(torch.zeros(1, 1, *size, device="meta"))
    return found


@given(spec=specs)
@settings(max_examples=8, deadline=None)
def test_sizes_are_those_of_the_network(spec):
    with torch.device("meta"):
        network = UNet(spec)
    legal = [max(f.smallest, f.step) + 2 * f.step for f in footprint(spec)]
    assert stage_sizes(spec, tuple(legal)) == sizes_of(network, legal)


@given(spec=specs)
@settings(max_examples=20, deadline=None)
def test_the_usual_tile_is_one_that_the_network_takes(spec):
    tile, least = usual_tile(spec), {2: 160, 3: 64}[spec.ndim]
    for n, foot in zip(tile, footprint(spec), strict=True):
        assert n >= least
        assert (n - (foot.smallest if foot.shrink else 0)) % foot.step == 0
        assert n - foot.step < max(least, foot.smallest)


def test_sizes_that_do_not_fit_are_refused():
    valid = UNetSpec(padding="valid", norm="none")
    with pytest.raises(LimnError, match=r"\(573, 572\), which a network without padding does not divide"):
        stage_sizes(valid, (573, 572))
    with pytest.raises(LimnError, match="leaves nothing"):
        stage_sizes(UNetSpec(padding="valid", norm="none", factors=((2, 2),)), (10, 10))
    with pytest.raises(LimnError, match="expected 2 extents for a 2D network"):
        stage_sizes(valid, (572,))


def colored(image, color):
    """Where a picture has exactly this colour."""
    return (image == np.array(color, np.uint8)).all(-1)


ENCODER, DECODER = (0x4A, 0x86, 0xC5), (0xE0, 0x90, 0x3C)


@pytest.mark.parametrize(("skip", "decoders"), [("concat", 4), ("attention", 4), ("nested", 10)])
@pytest.mark.parametrize("compact", [False, True])
def test_every_node_is_drawn_once(skip, decoders, compact):
    from scipy.ndimage import label

    spec = UNetSpec(skip=skip)
    image = draw_network(spec, (160, 160), compact=compact)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    # letters and lines may cross a box: count where boxes are, not their pixels
    boxes = [label(np.pad(colored(image, color), 1), np.ones((3, 3)))[1] for color in (ENCODER, DECODER)]
    assert boxes[0] == 5
    assert boxes[1] == decoders


def test_boxes_shrink_and_widen_on_the_way_down():
    image = draw_network(UNetSpec(), (160, 160))
    hit = colored(image, ENCODER)
    rows = np.flatnonzero(hit.any(1))
    bands = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    heights = [len(band) for band in bands]
    widths = [int(hit[band].any(0).sum()) for band in bands]
    assert len(bands) == 5
    assert heights == sorted(heights, reverse=True)
    assert widths == sorted(widths)


def test_a_dark_picture_is_dark():
    assert draw_network(UNetSpec(), (64, 64)).mean() > 200
    assert draw_network(UNetSpec(), (64, 64), dark=True).mean() < 80


def test_a_picture_is_saved_as_png_only(tmp_path):
    save_figure(UNetSpec(), (64, 64), tmp_path / "net.png")
    with Image.open(tmp_path / "net.png") as found:
        np.testing.assert_array_equal(np.asarray(found), draw_network(UNetSpec(), (64, 64)))
    with pytest.raises(LimnError, match=r"found suffix '.svg', expected .png"):
        save_figure(UNetSpec(), (64, 64), tmp_path / "net.svg")


def test_the_legend_says_what_was_chosen():
    spec = UNetSpec(
        padding="valid",
        norm="rms",
        down="strided",
        up="interpolate",
        skip="nested",
        block="residual",
        supervised=True,
    )
    text = "\n".join(legend(spec))
    for part in (
        "no padding",
        "RMS norm",
        "strided",
        "interpolation",
        "nested and cut",
        "shortcut",
        "every node of the first row",
    ):
        assert part in text
    assert "sigmoid over 2 classes" in "\n".join(legend(UNetSpec(head="sigmoid")))
    assert "1x2x2 or 2x2x2" in legend(UNetSpec(factors=((1, 2, 2), (2, 2, 2))))[1]
