"""A picture of labels shows the image as it is, and colours where there are labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_limn import LimnError, open_volume
from napari_limn.report.overlay import draw_overlay

LABELS = np.full((20, 30), 1, np.uint8)
LABELS[5:15, 5:15] = 2


@pytest.mark.parametrize(("axes", "shape"), [("YX", (20, 30)), ("ZYX", (3, 20, 30)), ("CYX", (2, 20, 30))])
def test_labels_are_coloured_and_the_rest_is_the_image(tmp_path, axes, shape):
    data = np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)
    labels = LABELS if "Z" not in axes else np.stack([LABELS] * 3)
    grid = open_volume(labels, axes.replace("C", ""))
    path = draw_overlay(tmp_path / "a.png", open_volume(data, axes), grid, {2: (1.0, 0.0, 0.0, 1.0)})
    picture = np.asarray(Image.open(path)).astype(int)
    plain, painted = picture[:, :30], picture[:, 38:]
    assert (picture[:, 30:38] == 255).all()
    assert (plain == plain[..., :1]).all()
    clear = LABELS == 1
    clear[5:16, 5:16] = False  # the outline lies on the side of larger coordinates, too
    np.testing.assert_array_equal(painted[clear], plain[clear])
    inside = painted[7:14, 7:14]
    assert (inside[..., 0] >= inside[..., 1]).all()
    assert (painted[5, 7:14, 0] - painted[5, 7:14, 1] > 200).all(), "the outline"


def test_a_flat_image_and_a_name_that_is_taken(tmp_path):
    flat = open_volume(np.zeros((20, 30), np.float32))
    path = draw_overlay(tmp_path / "a.png", flat, open_volume(LABELS), {})
    with Image.open(path) as picture:
        assert np.asarray(picture)[:, :30].max() == 0
    with pytest.raises(LimnError, match="exists"):
        draw_overlay(path, flat, open_volume(LABELS), {})
