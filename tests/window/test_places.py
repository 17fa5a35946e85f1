"""Strokes train the voxels that they cover on the screen, or the user is told."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_limn._napari.layers.layers import image_volume, lies_on, placement, volume_of
from napari_limn._napari.painting.recorder import _ties
from napari_limn._napari.prediction.pairs import pair_of
from napari_limn._napari.training.findings import layer_check, place_check
from napari_limn._napari.training.remedies import fix_layers
from napari_limn._napari.training.run import labels_on
from napari_limn.annotation.checkup import checkup
from napari_limn.annotation.findings import Remedy
from napari_limn.errors import LimnError
from napari_limn.runs import drain
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

N = 199
C = N / 2
TURN = np.array([[0, -1, N], [1, 0, 0], [0, 0, 1]], float)
MIRROR = np.array([[-1, 0, N], [0, 1, 0], [0, 0, 1]], float)
MOVE = np.array([[1, 0, 60], [0, 1, -30], [0, 0, 1]], float)

ELSEWHERE = {
    "affine, turned": {"affine": TURN},
    "affine, mirrored": {"affine": MIRROR},
    "affine, moved": {"affine": MOVE},
    "affine, larger": {"affine": np.diag([1.5, 1.5, 1])},
    "rotate": {"rotate": 20},
    "shear": {"shear": [0.3]},
    "scale -1": {"scale": (-1, 1)},
    "scale -1, translate": {"scale": (-1, 1), "translate": (N, 0)},
    "shear and translate": {"shear": [0.3], "translate": (-20, 4)},
    "mirrored twice": {"scale": (-1, -1), "translate": (N, N)},
    "turned by 180": {"rotate": 180, "translate": (N, N)},
    "a little larger": {"scale": (1.01, 1)},
}
IN_PLACE = {
    "nothing": {},
    "turned by 360": {"rotate": 360},
    "mirrored and mirrored back": {"scale": (-1, 1), "translate": (N, 0), "affine": MIRROR},
    "rounded": {"scale": (1 + 1e-7, 1 - 1e-7), "translate": (1e-6, 0)},
    "a quarter of a voxel": {"translate": (0.25, -0.25)},
    "turned by affine and back": {"affine": np.linalg.inv(TURN), "rotate": 90, "translate": (N, 0)},
}


def pair(where, **more):
    image = Image(
        np.random.default_rng(0).random((N + 1, N + 1, *more.pop("rgb", ()))), name="img", **where, **more
    )
    return image, Labels(np.zeros((N + 1, N + 1), np.uint8), name="strokes")


def kinds(image, labels):
    """What a check of the layers finds, read and unread, which must agree."""
    volume, own = image_volume([image]), volume_of(labels)
    found = [f.kind for f in drain(layer_check(volume, own, 2)) if f.kind in ("place", "shape")]
    assert [f.kind for f in place_check(volume, own)] == [k for k in found if k == "place"]
    assert lies_on(labels, image) == (found == [])
    return found


def covered(image, labels):
    """How far a stroke lies from the voxel that it trains, over all voxels."""
    points = np.random.default_rng(1).uniform(0, N, (50, 2))
    return max(np.abs(np.subtract(image.world_to_data(labels.data_to_world(p)), p)).max() for p in points)


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("more", [{}, {"rgb": (3,)}], ids=["plain", "colour"])
def test_strokes_that_lie_elsewhere_are_told_of_and_the_remedy_ends_it(name, more):
    viewer = ViewerModel()
    image, labels = pair(ELSEWHERE[name], **more)
    viewer.add_layer(image), viewer.add_layer(labels)
    assert covered(image, labels) > 0.5
    assert kinds(image, labels) == ["place"]
    assert not _ties(labels, image)[1]
    fix_layers(Remedy(action="place"), viewer, image, labels)
    assert covered(image, labels) < 1e-6
    assert kinds(image, labels) == []
    assert _ties(labels, image)[1]


@pytest.mark.parametrize("name", IN_PLACE)
def test_no_false_alarm(name):
    image, labels = pair(IN_PLACE[name])
    assert covered(image, labels) <= 0.5, "of the test"
    assert kinds(image, labels) == []


@pytest.mark.parametrize("name", ELSEWHERE)
def test_layers_made_for_an_image_lie_on_it(name):
    """By napari's own button, and by ours."""
    viewer = ViewerModel()
    image = viewer.add_layer(pair(ELSEWHERE[name])[0])
    viewer.layers.selection = {image}
    viewer._new_labels()
    assert kinds(image, viewer.layers[-1]) == []
    ours = Labels(np.zeros((N + 1, N + 1), np.uint8), **placement(image, volume_of(image)))
    assert kinds(image, ours) == []


def test_labels_of_an_image_with_a_channel_axis_lie_where_it_is_turned():
    affine = np.eye(4)
    affine[1:, 1:] = TURN
    image = Image(np.zeros((2, 30, 30)), axis_labels=("c", "y", "x"), affine=affine, scale=(1, 2, 3))
    labels = Labels(np.zeros((30, 30), np.uint8), **placement(image, volume_of(image)))
    for point in ([0, 0], [3, 20], [29, 5]):
        np.testing.assert_allclose(labels.data_to_world(point), image.data_to_world([0, *point])[1:])
    assert place_check(volume_of(image), volume_of(labels)) == []


def test_axes_count_as_they_are_shown():
    """Layers are shown one axis upon the other, whatever they are called."""
    image = Image(np.zeros((9, 9, 9)), axis_labels=("x", "y", "z"), scale=(0.1, 0.1, 0.5))
    labels = Labels(np.zeros((9, 9, 9), np.uint8), scale=(0.1, 0.1, 0.5))
    assert place_check(volume_of(image), volume_of(labels)) == []
    assert labels_on(volume_of(image), volume_of(labels)).axes.names == "XYZ"
    swapped = Labels(np.zeros((7, 8, 9), np.uint8), axis_labels=("z", "y", "x"), scale=(0.5, 0.1, 0.1))
    image = Image(np.zeros((9, 8, 7)), axis_labels=("x", "y", "z"), scale=(0.1, 0.1, 0.5))
    assert place_check(volume_of(image), volume_of(swapped)) == []
    assert labels_on(volume_of(image), volume_of(swapped)).grid == volume_of(image).grid


@pytest.mark.parametrize("flipped", [0, 1, 2])
def test_a_stack_mirrored_along_one_axis(flipped):
    scale, translate = [3.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    labels = Labels(np.zeros((8, 20, 20), np.uint8), scale=scale)
    translate[flipped] = scale[flipped] * (labels.data.shape[flipped] - 1)
    scale[flipped] *= -1
    image = Image(np.random.default_rng(0).random((8, 20, 20)), scale=scale, translate=translate)
    assert [f.kind for f in place_check(volume_of(image), volume_of(labels))] == ["place"]


def test_a_plane_of_a_stack_and_a_pyramid():
    image = Image(np.zeros((1, 40, 40)), scale=(5, 1, 1), translate=(30, 0, 0))
    assert place_check(volume_of(image), volume_of(Labels(np.zeros((40, 40), np.uint8)))) == []
    moved = Labels(np.zeros((40, 40), np.uint8), translate=(0, 7))
    assert [f.kind for f in place_check(volume_of(image), volume_of(moved))] == ["place"]
    full = np.random.default_rng(0).random((400, 400))
    pyramid = Image([full, full[::2, ::2]], multiscale=True, rotate=30)
    labels = Labels(np.zeros((400, 400), np.uint8))
    assert [f.kind for f in place_check(volume_of(pyramid), volume_of(labels))] == ["place"]
    labels.rotate = 30
    assert place_check(volume_of(pyramid), volume_of(labels)) == []


def test_channels_and_predictions_that_were_moved_are_not_taken_as_one():
    one, two = (Image(np.zeros((30, 30)), name=name) for name in "ab")
    two.affine = np.array([[1, 0, 5], [0, 1, 0], [0, 0, 1.0]])
    with pytest.raises(LimnError, match="channels a and b: found them 5 voxels apart"):
        image_volume([one, two])
    first, second = (Labels(np.ones((30, 30), np.uint8), name=name) for name in ("p", "q"))
    pair_of(first, second)
    second.scale = (-1, 1)
    with pytest.raises(LimnError, match="p: found in another place than q"):
        pair_of(first, second)


@pytest.mark.window
def test_a_layer_that_is_turned_later_is_noticed_and_a_click_corrects_it(hand):
    viewer = hand.viewer
    image = viewer.add_image(np.random.default_rng(0).random((60, 60)), name="img")
    labels = viewer.add_labels(np.zeros((60, 60), np.uint8), name="strokes")
    train = hand.open_widget("Train")
    assert not [f for f in train.findings.shown if f.kind == "place"]
    image.affine = np.array([[0, -1, 59], [1, 0, 0], [0, 0, 1.0]])  # napari's transform mode writes it
    (finding,) = (f for f in train.findings.shown if f.kind == "place")
    assert "press “Copy the image's position”" in finding.sentence
    hand.press("limn-train-remedy")
    np.testing.assert_array_equal(labels.affine, image.affine)
    assert not [f for f in train.findings.shown if f.kind == "place"]


@pytest.mark.window
def test_the_preview_of_live_mode_follows_its_image(live_run):
    image, _, run = live_run
    for change in ({"affine": TURN}, {"scale": (-2, 1)}, {"rotate": 30}, {"translate": (5, 6)}):
        for name, value in change.items():
            setattr(image, name, value)
        assert lies_on(run.layer, image), change
    run.close()
    image.translate = (50, 60)


@pytest.mark.parametrize("scale", [0.1, 0.3])
def test_training_says_of_files_what_check_says(scale):
    image = Volume.of(
        np.random.default_rng(0).random((40, 40)), Axes.of("YX", (0.1, 0.1), ("micrometer",) * 2)
    )
    paint = np.zeros((40, 40), np.uint8)
    paint[4:9], paint[20:25] = 1, 2
    labels = Volume.of(paint, Axes.of("YX", (scale, scale), ("micrometer",) * 2), "labels")
    said = [f.kind for f in checkup(image, labels)]
    painted = collect_training_data(image, labels, TrainSpec(), None, {}, {})
    assert [f.kind for f in painted.warnings] == said
    assert ("place" in said) == (scale != 0.1)
