from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import napari_limn as limn
from napari_limn.annotation.classes import IGNORE, Classes
from napari_limn.errors import LimnError
from napari_limn.model import ModelSpec
from napari_limn.network.footprint import footprint
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data.painted import PaintedTile, collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer import fit as instant
from napari_limn.training.first_answer import sample as drawn
from napari_limn.training.planning.extents import patch_size
from napari_limn.training.planning.presets import choose_network
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.spec import CONTEXT, AugmentSpec, TrainSpec
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import blocks
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)

PLANES = UNetSpec(width=2, factors=((2, 2), (2, 2)))
VALID = UNetSpec(width=2, factors=((2, 2), (2, 2)), padding="valid", norm="none")
VOLUMES = UNetSpec(width=2, factors=((1, 2, 2), (2, 2, 2)))


def striped(shape=(128, 128), length=20, values=(1, 2), step=12, margin=4):
    """Short horizontal strokes in the last two axes, values in turn."""
    labels = np.zeros(shape, np.uint8)
    plane = labels.reshape(-1, *shape[-2:])[0]
    for i, y in enumerate(range(margin, shape[-2] - margin, step)):
        plane[y, margin + 30 * (i % 3) : margin + 30 * (i % 3) + length] = values[i % len(values)]
    return labels


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def data_for(images, labels, network=PLANES, **spec):
    spec = TrainSpec(**{"network": network, "patch": (32,) * network.ndim, "batch": 6} | spec)
    painted = collect_training_data(images, labels, spec, None, {}, {})
    return training_set(painted, spec)


def training_set(painted, spec, after=None):
    return TrainingSet(painted, resolve(spec, painted.images[0], painted.classes), after)


@pytest.mark.parametrize("network", [PLANES, VALID, VOLUMES, UNetSpec(factors=((3, 2), (2, 2)))])
@pytest.mark.parametrize("asked", [1, 7, 30, 32, 33])
def test_the_patch_is_the_least_legal_one_that_is_not_below_what_was_asked(network, asked):
    image = Volume.of(noise((8, 64, 64)))
    chosen = patch_size(network, footprint(network), (asked,) * network.ndim, image)[-network.ndim :]
    for size, along in zip(chosen, footprint(network), strict=True):
        legal = [along.smallest + k * along.step - 2 * along.shrink for k in range(60)]
        if not along.shrink:
            legal = [along.step * (k + 1) for k in range(60)]
        assert size == min(n for n in legal if n >= asked)


def test_default_patches_of_planes_and_of_volumes_with_a_coarse_z():
    deep = UNetSpec(factors=((2, 2),) * 4)
    plane = Volume.of(noise((300, 300)))
    assert patch_size(deep, footprint(deep), None, plane) == (1, 1, 64, 64)
    assert patch_size(deep, footprint(deep), None, plane, CONTEXT) == (1, 1, 160, 160)
    coarse = Volume.of(noise((40, 64, 64)), Axes.of("ZYX", (4.0, 1.0, 1.0)))
    assert patch_size(VOLUMES, footprint(VOLUMES), None, coarse) == (1, 8, 32, 32)
    thin = Volume.of(noise((6, 64, 64)), "ZYX")
    assert patch_size(VOLUMES, footprint(VOLUMES), None, thin) == (1, 6, 32, 32)


def test_a_patch_of_another_number_of_axes_is_refused():
    with pytest.raises(
        LimnError, match=r"TrainSpec.patch: found \(32, 32\), expected 3 extents for a 3D network"
    ):
        patch_size(VOLUMES, footprint(VOLUMES), (32, 32), Volume.of(noise((8, 64, 64))))


def test_held_out_strokes_are_scored_with_more_around_them_and_a_card_gets_large_patches(monkeypatch):
    labels = striped((300, 300))
    small = data_for(noise((300, 300)), labels, patch=None, held_out=0.3, device="cpu")
    assert small.regions.patch == (1, 1, 64, 64)
    assert {image.shape[-2:] for image, _ in small.regions.held_out_windows()} == {(160, 160)}
    monkeypatch.setattr("napari_limn.training.planning.resolve.choose_device", lambda _: torch.device("cuda"))
    assert data_for(noise((300, 300)), labels, patch=None).regions.patch == (1, 1, 160, 160)


def test_batch_norm_has_more_than_one_sample_to_look_at_in_a_batch_of_one():
    data = data_for(noise((128, 128)), striped((128, 128)), patch=(1, 1), batch=1)
    assert UNet(PLANES).train()(data.batch().images).isfinite().all()
    assert data_for(noise((128, 128)), striped((128, 128)), patch=(1, 1), batch=2).regions.patch == (
        1,
        1,
        4,
        4,
    )


@pytest.mark.parametrize("network", [PLANES, VALID, VOLUMES])
def test_instance_norm_has_more_than_one_sample_to_look_at_in_the_smallest_patch(network):
    network = replace(network, norm="instance")
    data = data_for(noise((8, 128, 128)), striped((8, 128, 128)), network, patch=(1,) * network.ndim)
    assert UNet(network).train()(data.batch().images).isfinite().all()


CASES = {
    "plane": (PLANES, (128, 128), "YX", (32, 32)),
    "rgb": (UNetSpec(width=2, factors=PLANES.factors, in_channels=3), (128, 128, 3), "YXC", (32, 32)),
    "stack of planes": (PLANES, (4, 128, 128), "ZYX", (32, 32)),
    "movie": (PLANES, (4, 128, 128), "TYX", (32, 32)),
    "volume": (VOLUMES, (9, 128, 128), "ZYX", (8, 32, 32)),
    "channels of a volume": (
        UNetSpec(width=2, factors=VOLUMES.factors, in_channels=2),
        (9, 2, 128, 128),
        "ZCYX",
        (8, 32, 32),
    ),
    "movie of volumes": (VOLUMES, (2, 9, 128, 128), "TZYX", (8, 32, 32)),
}


@pytest.mark.parametrize(("network", "shape", "axes", "patch"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_batches_and_windows_have_the_shapes_that_the_network_takes(network, shape, axes, patch, padding):
    network = UNetSpec(
        width=2, factors=network.factors, in_channels=network.in_channels, padding=padding, norm="none"
    )
    image = Volume.of(noise(shape), axes)
    labels = striped(tuple(n for n, a in zip(shape, axes, strict=True) if a != "C"))
    data = data_for(image, labels, network, patch=patch, batch=3)
    out = patch_size(network, footprint(network), patch, image)[-network.ndim :]
    seen = tuple(n + 2 * f.shrink for n, f in zip(out, footprint(network), strict=True))
    batch = data.batch()
    images, targets = batch.images, batch.targets
    assert images.shape == (3, network.in_channels, *seen)
    assert targets.shape == (3, *out)
    assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)
    windows = data.regions.held_out_windows()
    assert windows
    for x, y in windows:
        assert x.shape == (1, network.in_channels, *seen)
        assert y.shape == (1, *out)
    assert UNet(network)(images).shape[2:] == targets.shape[1:]


@pytest.fixture
def plain(monkeypatch):
    """Patches as they are, without random variation."""
    monkeypatch.setattr("napari_limn.training.data.training_set.augmented", lambda batch, *_: batch)


def image_of_labels(labels):
    """An image that is its labels: what the network sees shows what it should learn."""
    return labels.astype(np.float32)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("network", [PLANES, VALID])
def test_targets_belong_to_the_image_they_come_with(network):
    labels = striped((160, 160), length=25, values=(1, 2, 3))
    data = data_for(image_of_labels(labels), labels, network, batch=8, held_out=0.0)
    margin = footprint(network)[0].shrink
    for _ in range(6):
        batch = data.batch()
        images, targets = batch.images, batch.targets
        painted = unscaled(data, images)[
            :, 0, margin : images.shape[2] - margin, margin : images.shape[3] - margin
        ]
        inside = (targets != IGNORE).any(1, keepdim=True) & (targets != IGNORE).any(2, keepdim=True)
        assert inside.any()
        assert torch.equal(painted[inside].round().long() - 1, targets[inside])


@pytest.mark.usefixtures("plain")
def test_every_patch_holds_paint_and_classes_take_turns():
    labels = striped((160, 160), values=(1, 2, 3))
    data = data_for(noise((160, 160)), labels, batch=9)
    targets = data.batch().targets
    for turn, target in enumerate(targets):
        assert turn % 3 in target.unique().tolist()


def test_windows_are_labelled_inside_held_out_regions_and_nothing_else_is():
    labels = striped((200, 200), length=22)
    data = data_for(image_of_labels(labels), labels)
    regions = data.regions.held[0].boxes
    windows = data.regions.held_out_windows()
    assert len(windows) == len(regions)
    for (_, target), region in zip(windows, regions, strict=True):
        inside = labels[tuple(slice(a, b) for a, b in region[2:])]
        assert (target != IGNORE).sum() == (inside > 0).sum()
        assert set(target.unique().tolist()) == {IGNORE, *(np.unique(inside[inside > 0]) - 1).tolist()}


@pytest.mark.usefixtures("plain")
def test_what_scores_is_never_trained_on():
    labels = striped((200, 200), length=22)
    marks = np.arange(labels.size, dtype=np.float64).reshape(labels.shape)
    data = data_for(marks, labels, batch=8)
    held = {
        round(float(v))
        for x, y in data.regions.held_out_windows()
        for v in unscaled(data, x[:, 0])[y != IGNORE]
    }
    trained = set()
    for _ in range(60):
        batch = data.batch()
        images, targets = batch.images, batch.targets
        trained |= {round(float(v)) for v in unscaled(data, images[:, 0])[targets != IGNORE]}
    painted = set(np.flatnonzero(labels).tolist())
    assert held <= painted
    assert len(trained & painted) > 0.5 * len(painted)
    assert not held & trained


def unscaled(data, images):
    scaling = data.regions.scalings[0]
    return images.double() * scaling.width[0] + scaling.low[0]


@pytest.mark.usefixtures("plain")
def test_beyond_the_border_nothing_is_labelled_and_the_image_is_mirrored():
    labels = np.ones((24, 24), np.uint8)
    labels[:, 12:] = 2
    image = np.arange(24 * 24, dtype=np.float32).reshape(24, 24)
    data = data_for(image, labels, held_out=0.0, patch=(44, 44), batch=24)
    batch = data.batch()
    images, targets = batch.images, batch.targets
    complete = 0
    for x, y in zip(images, targets, strict=True):
        rows, columns = (y != IGNORE).nonzero().T
        top, left = int(rows.min()), int(columns.min())
        grid = unscaled(data, x).numpy()[0]
        below, right = 20 - top, 20 - left
        if len(rows) < 24 * 24:
            continue
        complete += 1
        expected = np.pad(image, [(top, below), (left, right)], mode="reflect")
        assert np.abs(grid - expected).max() < 0.05
    assert complete >= 3


@pytest.mark.usefixtures("plain")
def test_patches_come_from_every_pair_and_go_with_its_own_labels_and_scaling():
    first, second = striped((128, 128)), striped((128, 128), values=(3, 4))
    dim, bright = noise((128, 128)) + 1, 1000 * noise((128, 128)) + 5000
    data = data_for([dim, bright], [first, second], batch=16, held_out=0.0)
    batch = data.batch()
    images, targets = batch.images, batch.targets
    pairs = [set(t.unique().tolist()) - {IGNORE} for t in targets]
    assert all(p <= {0, 1} or p <= {2, 3} for p in pairs)
    assert any(p <= {0, 1} for p in pairs)
    assert any(p <= {2, 3} for p in pairs)
    assert images.min() > -0.6
    assert images.max() < 1.7


def test_the_same_seed_gives_the_same_batches():
    labels = striped()
    first, second = (data_for(noise((128, 128)), labels, seed=3).batch() for _ in range(2))
    other = data_for(noise((128, 128)), labels, seed=4).batch()
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.targets, second.targets)
    assert not torch.equal(first.images, other.images)


def test_nothing_is_held_out_if_so_asked():
    data = data_for(noise((128, 128)), striped(), held_out=0.0)
    assert data.regions.held_out_windows() == []


@pytest.mark.parametrize("network", [PLANES, VALID])
def test_strokes_longer_than_the_patch_score_in_windows_as_large_as_it_takes(network):
    data = data_for(noise((128, 128)), striped(length=60), network, patch=(32, 32))
    windows = data.regions.held_out_windows()
    assert windows
    assert sum(int((y != IGNORE).sum()) for _, y in windows) == 60 * len(windows)
    for x, y in windows:
        assert UNet(network).eval()(x).shape[2:] == y.shape[1:]


def test_strokes_over_two_planes_score_with_all_of_their_paint():
    labels = np.zeros((4, 128, 128), np.uint8)
    labels[1] = labels[2] = striped()
    data = data_for(Volume.of(noise((4, 128, 128)), "ZYX"), labels)
    held = data.regions.held[0].held(np.argwhere(labels[None])).sum()
    assert sum(int((y != IGNORE).sum()) for _, y in data.regions.held_out_windows()) == held > 0


def test_one_of_several_images_may_be_without_paint():
    labels = striped()
    data = data_for([noise((128, 128))] * 2, [labels, np.zeros_like(labels)])
    assert data.regions.held_out_windows()


@pytest.mark.parametrize("network", [PLANES, VOLUMES])
def test_of_many_images_with_one_stroke_of_each_class_whole_strokes_are_held_out(network):
    images, labels = [], []
    for number in range(8):
        shape = (2, 64, 64 + 8 * number)[-network.ndim :]
        mask = np.zeros(shape, np.uint8)
        plane = mask.reshape(-1, *shape[-2:])[0]
        plane[10, 10:40], plane[40, 10:40] = 1, 2
        images.append(noise(shape, number))
        labels.append(mask)
    data = data_for(images, labels, network, patch=None, held_out=0.4)
    held = [(number, box) for number, out in enumerate(data.regions.held) for box in out.boxes]
    assert len({number for number, _ in held}) >= 2
    for number, box in held:
        inside = data.regions._labels[number].read(box)[0]
        assert inside.size == (inside > 0).sum() == 30  # a stroke of this image
    where = np.array([[0, 0, y, x] for y in (10, 40) for x in range(10, 40)])
    left = [~out.excluded(where) for out in data.regions.held]
    assert sum(keep[:30].sum() for keep in left) >= 4 * 30
    assert sum(keep[30:].sum() for keep in left) >= 4 * 30


def test_painting_on_while_training_does_not_change_what_is_learned():
    labels = striped()
    data, untouched = data_for(noise((128, 128)), labels), data_for(noise((128, 128)), labels.copy())
    labels[:] = 2
    assert torch.equal(data.batch().targets, untouched.batch().targets)


def test_as_many_images_as_labels_are_expected():
    with pytest.raises(LimnError, match="found 2 images and 1 labels, expected as many of each"):
        data_for([noise((64, 64))] * 2, [striped((64, 64))])
    with pytest.raises(LimnError, match="found 0 images and 0 labels"):
        data_for([], [])


def test_images_of_different_channels_are_refused():
    images = [Volume.of(noise((2, 64, 64)), "CYX"), Volume.of(noise((64, 64)))]
    with pytest.raises(LimnError, match="different numbers of channels"):
        data_for(images, [striped((64, 64))] * 2)


def test_labels_of_another_extent_are_refused_with_both():
    with pytest.raises(LimnError, match=r"\(1, 1, 32, 64\), expected \(1, 1, 64, 64\)"):
        data_for(noise((64, 64)), np.zeros((32, 64), np.uint8))


def test_labels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(LimnError, match="type float32, expected whole numbers"):
        data_for(noise((64, 64)), noise((64, 64)))


def known_model(classes):
    return ModelSpec(network=PLANES, classes=classes)


def test_classes_of_all_pairs_and_of_a_known_model_come_together():
    labels = [striped((64, 64), values=(1, 2)), striped((64, 64), values=(2, 7))]
    painted = collect_training_data([noise((64, 64))] * 2, labels, TrainSpec(), None, {}, {7: "axon"})
    assert painted.classes.values == (1, 2, 7)
    assert painted.classes.names == ("class 1", "class 2", "axon")
    known = known_model(Classes((2, 9), names=("myelin", "fibre")))
    again = collect_training_data([noise((64, 64))], [labels[1]], TrainSpec(), known, {}, {})
    assert again.classes.name_of == {2: "myelin", 7: "class 7", 9: "fibre"}


def test_a_known_model_needs_paint_but_not_of_two_classes():
    one = striped((64, 64), values=(2,))
    assert collect_training_data(
        noise((64, 64)), one, TrainSpec(), known_model(Classes((2, 9))), {}, {}
    ).classes.values == (2, 9)
    with pytest.raises(LimnError, match=r"no painted voxel.*paint corrections first"):
        collect_training_data(
            noise((64, 64)), np.zeros_like(one), TrainSpec(), known_model(Classes((2, 9))), {}, {}
        )


def test_the_default_network_fits_the_data():
    plane = Volume.of(noise((64, 64, 3)))
    network = choose_network(TrainSpec(), plane, 5)
    assert (network.ndim, network.depth, network.in_channels, network.out_channels) == (2, 3, 3, 5)
    coarse = Volume.of(noise((10, 64, 64)), Axes.of("ZYX", (4.0, 1.0, 1.0)))
    assert choose_network(TrainSpec(dims=3), coarse, 2).factors == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    thin = Volume.of(noise((7, 64, 64)), "ZYX")
    assert choose_network(TrainSpec(dims=3), thin, 2).factors == ((1, 2, 2),) * 3


@pytest.mark.parametrize("spec", [TrainSpec(dims=3), TrainSpec(network=VOLUMES)])
@pytest.mark.parametrize("shapes", [[(64, 64)], [(8, 64, 64), (64, 64)], [(64, 64), (8, 64, 64)]], ids=str)
def test_no_image_is_a_single_plane_for_a_network_over_volumes(spec, shapes):
    assert spec.ndim == 3
    with pytest.raises(
        LimnError, match="single plane, expected a stack for a 3D network; choose a 2D network"
    ):
        collect_training_data([noise(s) for s in shapes], [striped(s) for s in shapes], spec, None, {}, {})


def test_the_axes_of_a_network_that_is_given_count_before_those_asked_for():
    assert TrainSpec().ndim == 2
    assert TrainSpec(dims=3, network=PLANES).ndim == 2
    stack = collect_training_data(
        noise((8, 64, 64)), striped((8, 64, 64)), TrainSpec(network=VOLUMES), None, {}, {}
    )
    assert stack.images[0].grid == (1, 8, 64, 64)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"seconds": 0}, "budget of 0 s"),
        ({"steps": 0}, "0 steps, expected more than 0"),
        ({"zero": "air"}, "'air', expected one of unlabelled, background"),
        ({"dims": 4}, "found 4, expected one of 2, 3"),
        ({"batch": 0}, "batch 0"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": 1 << 32}, "seed: found 4294967296"),
        ({"rate": 0}, "rate 0"),
        ({"held_out": 0.6}, "held_out 0.6"),
        ({"patch": (0, 4)}, r"\(0, 4\), expected extents of 1 or more"),
    ],
)
def test_a_specification_that_cannot_be_is_refused_with_the_value(field, message):
    with pytest.raises(LimnError, match=message):
        TrainSpec(**field)


def test_numbered_objects_become_one_class_separated_where_they_touch_with_weights_between():
    objects = np.zeros((128, 128), np.uint16)
    objects[40:60, 40:60], objects[40:60, 60:80], objects[40:60, 82:100] = 7, 3, 9
    augment = AugmentSpec(warped=0, noise=0)
    spec = TrainSpec(zero="background", objects=True, augment=augment, seed=0, network=PLANES)
    painted = collect_training_data(noise((128, 128)), objects, spec, None, {}, {})
    assert painted.classes.values == (0, 1)
    data = training_set(painted, spec)
    batch = data.batch()
    targets, weights = batch.targets, batch.weights
    assert weights.shape == targets.shape
    assert (weights[targets == 1] == 1).all()
    line = weights.max().item()
    assert line == pytest.approx(1 + 10 * np.exp(-4 / 50), rel=1e-4)  # one pixel to either side
    assert (weights[targets == 0] > 1).any()


def test_negative_numbers_of_objects_are_refused():
    objects = np.zeros((64, 64), np.int32)
    objects[8:20, 8:20], objects[30:40, 30:40] = 1, -1
    with pytest.raises(LimnError, match=r"negative label -1.*0 and above.*renumber"):
        collect_training_data(
            noise((64, 64)), objects, TrainSpec(zero="background", objects=True), None, {}, {}
        )


@pytest.mark.parametrize(
    ("network", "shape", "extent"),
    [(PLANES, (3, 90, 140), (1, 1, 32, 40)), (VOLUMES, (20, 60, 110), (1, 7, 32, 40))],
    ids=["planes", "volumes"],
)
@pytest.mark.parametrize("seed", range(3))
def test_painted_tiles_show_what_can_be_learned_in_each(network, shape, extent, seed):
    rng = np.random.default_rng(seed)
    labels = [np.zeros(shape, np.uint8) for _ in range(2)]
    for own in labels:
        for _ in range(30):
            z, y, x = (int(rng.integers(0, n)) for n in shape)
            own[z, y : y + 3, x : x + 20] = rng.integers(1, 5)
    images = [Volume.of(noise(shape), "ZYX")] * 2
    data = data_for(images, labels, network, held_out=0.3, seed=seed, patch=(16,) * network.ndim)
    expected, held_out = set(), 0
    for source, box in itertools.product(range(2), blocks(data.regions.grid(0), extent)):
        target, held = data.regions.targets_of(source, box)
        if (target != IGNORE).any():
            found = np.unique(target[(target != IGNORE) & ~held])
            expected.add(PaintedTile(source, box, tuple(found.tolist())))
            held_out += len(np.unique(target)) - 1 > len(found)
    tiles = data.regions.painted_tiles(extent)
    assert set(tiles) == expected
    assert len(tiles) == len(expected)
    assert held_out


def two_classes_in_two_planes():
    """Strokes of two classes, side by side, in two tiles along z and two along x."""
    labels = np.zeros((64, 96, 96), np.uint8)
    for plane in (10, 50):
        labels[plane, 10:14, 10:40], labels[plane, 10:14, 56:86] = 1, 2
    return noise(labels.shape), labels


SOLID = UNetSpec(width=2, factors=((2, 2, 2),), pixels=PixelSpec(scales=((1.0, 1.0, 1.0),)))


def test_where_there_is_time_for_few_tiles_they_show_all_classes_that_are_not_held_out(monkeypatch):
    monkeypatch.setitem(drawn._SEEN, 3, 1)
    spec = TrainSpec(network=SOLID, patch=(8, 32, 32))
    painted = collect_training_data(*two_classes_in_two_planes(), spec, None, {}, {})
    classifier, before, fewer = UNet(SOLID).pixels, None, 0
    for seed in range(20):
        data = before = training_set(painted, replace(spec, seed=seed), before)
        tiles = data.regions.painted_tiles(drawn.TILE[3])
        chosen = drawn._chosen(tiles, classifier, seed, {})
        learned = [
            target[~held] for target, held in (data.regions.targets_of(t.source, t.box) for t in chosen)
        ]
        assert {0, 1} <= set(np.concatenate(learned).tolist())
        fewer += len(chosen) < len(tiles)
    assert fewer == 20


def test_a_volume_trains_though_a_tile_may_hold_nothing_but_what_is_held_out(monkeypatch):
    monkeypatch.setitem(drawn._SEEN, 3, 1)
    monkeypatch.setattr(drawn, "_OTHERS", 500)
    for name, value in {"_STEPS": 5, "_STEPS_ON": 5, "_OTHERS_ON": 500}.items():
        monkeypatch.setattr(instant, name, value)
    spec = TrainSpec(steps=1, seed=6, network=SOLID, patch=(8, 32, 32), device="cpu", soft_targets=0)
    model = limn.train(*two_classes_in_two_planes(), spec)
    assert model.spec.classes.values == (1, 2)
    assert model.spec.score is not None


def test_weights_of_classes_must_be_as_many_as_classes():
    spec = TrainSpec(class_weights=(1.0, 2.0, 3.0))
    with pytest.raises(LimnError, match="found 3 weights for 2 classes"):
        collect_training_data(noise((128, 128)), striped(), spec, None, {}, {})
