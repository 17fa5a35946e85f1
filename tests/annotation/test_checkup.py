"""The check-up: what it finds, in which words, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn import samples
from napari_limn.annotation.checkup import checkup
from napari_limn.annotation.classes import find_classes
from napari_limn.annotation.findings import Finding, Remedy, findings_json
from napari_limn.annotation.image_checks import check_place
from napari_limn.annotation.paint_checks import ENOUGH, quick_paint
from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.reading.open import open_labels, open_volume
from napari_limn.volume.volume import Volume

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 200, shape, np.uint8)


def well_painted(*shape: int) -> np.ndarray:
    """Two classes, many voxels of each, in many planes."""
    labels = np.zeros(shape, np.uint8)
    labels[..., 2:8, :], labels[..., 20:26, :] = 1, 2
    return labels


def kinds(image, labels, **facts) -> list[str]:
    return [
        f.kind for f in checkup(Volume.of(image, name="image"), Volume.of(labels, name="strokes"), **facts)
    ]


def test_nothing_is_found_where_all_is_well():
    assert kinds(noise(40, 40), well_painted(40, 40)) == []
    assert kinds(noise(6, 40, 40), well_painted(6, 40, 40)) == []
    sample = [open_volume(path) for path in (samples.PAINTED.image, samples.PAINTED.strokes)]
    assert checkup(*sample) == ()
    assert (
        checkup(open_volume(samples.PAINTED.image), open_volume(samples.PAINTED.truth), zero="background")
        == ()
    )


@pytest.mark.parametrize(
    ("values", "zero", "kind", "remedies"),
    [
        ([], "unlabelled", "paint", [Remedy(action="select", value=1)]),
        ([], "background", "paint", [Remedy(action="select", value=1)]),
        ([4], "unlabelled", "classes", [Remedy(action="select", value=5), Remedy(action="zero")]),
    ],
)
def test_what_stops_training_is_said_in_the_words_of_the_error(values, zero, kind, remedies):
    labels = np.zeros((40, 40), np.uint8)
    for value in values:
        labels[value] = value
    (found,) = checkup(Volume.of(noise(40, 40)), Volume.of(labels), zero=zero)
    with pytest.raises(LimnError) as error:
        find_classes(values, zero)
    assert found == Finding(kind, True, str(error.value), tuple(remedies))


def test_labels_of_another_extent_stop_training_in_the_words_of_the_error():
    image, labels = Volume.of(noise(40, 40)), Volume.of(well_painted(40, 30))
    (found,) = checkup(image, labels)
    with pytest.raises(LimnError) as error:
        open_labels(labels, image)
    assert (found.kind, found.stops, found.sentence) == ("shape", True, str(error.value))
    assert found.remedies == (Remedy(action="layer"),)


def test_negative_labels_and_a_plane_for_a_3d_network_stop_training():
    labels = well_painted(40, 40).astype(np.int16)
    labels[0, 0] = -3
    assert kinds(noise(40, 40), labels) == ["values"]
    (found,) = checkup(Volume.of(noise(40, 40)), Volume.of(well_painted(40, 40)), dims=3)
    assert (found.kind, found.stops, found.remedies) == ("depth", True, (Remedy(action="dims", value=2),))
    assert str(found).endswith("[--dims 2]")


@pytest.mark.parametrize("known", [(), (1, 2)])
def test_a_class_of_few_voxels_is_named_with_both_numbers_unless_it_is_a_correction(known):
    labels = well_painted(40, 40)
    labels[30, :7] = 5
    found = checkup(Volume.of(noise(40, 40)), Volume.of(labels), known=known, names={5: "spindle"})
    if known:
        assert found == ()
    else:
        assert [f.remedies for f in found] == [(Remedy(action="select", value=5),)]
        assert "spindle: found 7 painted voxels" in found[0].sentence
        assert str(ENOUGH) in found[0].sentence


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 12), st.data(), st.sampled_from(["ZYX", "TYX"]))
def test_strokes_in_one_slice_of_many_lead_to_a_slice_far_from_it(count, data, axes):
    own = data.draw(st.integers(0, count - 1))
    labels = np.zeros((count, 40, 40), np.uint8)
    labels[own] = well_painted(40, 40)
    image = Volume.of(noise(count, 40, 40), axes)
    (found,) = checkup(image, Volume.of(labels, axes))
    assert (found.kind, found.stops) == ("slice", False)
    place = found.remedies[0].place
    there = place[1] if axes == "ZYX" else place[0]
    assert all(0 <= p < n for p, n in zip(place, image.grid, strict=True))
    assert abs(there - own) >= count // 4
    labels[(own + 1) % count] = labels[own]
    assert checkup(image, Volume.of(labels, axes)) == ()


def test_labels_shown_elsewhere_than_their_image_are_found_and_those_of_a_silent_file_are_not():
    image = Volume.of(noise(40, 40), Axes.of("YX", (0.1, 0.2), ("micrometer",) * 2))
    silent = Volume.of(well_painted(40, 40), "YX", "strokes")
    assert check_place(image, silent) == []
    (found,) = check_place(image, silent, shown=True)
    assert found.remedies == (Remedy(action="place"),)
    assert "found voxels of 1 × 1, expected 0.1 × 0.2" in found.sentence
    moved = Volume.of(silent.data, Axes.of("YX", (0.1, 0.2), ("micrometer",) * 2, (0.0, 5.0)))
    assert len(check_place(image, moved)) == 1
    assert check_place(image, Volume.of(silent.data, image.axes), shown=True) == []


@pytest.mark.parametrize(
    ("shape", "dims", "axes"),
    [
        ((40, 40, 2), 2, "YXC"), ((3, 40, 40), 2, "CYX"), ((5, 40, 40, 4), 2, None), ((6, 40, 40, 2), 2, "ZYXC"),
        ((2, 6, 40, 40), 2, "CZYX"), ((8, 40, 40), 3, "TYX"), ((8, 40, 40), 2, None), ((40, 40), 2, None),
    ],
)  # fmt: skip
def test_axes_that_nothing_vouches_for_are_doubted(shape, dims, axes):
    image = Volume.of(noise(*shape), name="stack")
    labels = Volume.of(well_painted(*image.grid), "TZYX")
    found = [f for f in checkup(image, labels, dims=dims) if f.kind == "axes"]
    assert [f.remedies[0].axes for f in found] == ([axes] if axes else [])
    declared = Volume.of(image.data, Axes.of(image.axes.names, units=("micrometer",) * len(shape)))
    assert not [f for f in checkup(declared, labels, dims=dims) if f.kind == "axes"]


def test_a_stack_without_a_size_along_z_is_doubted_where_the_network_goes_by_it():
    axes = Axes.of("ZYX", (1.0, 0.1, 0.1), ("pixel", "micrometer", "micrometer"))
    image, labels = Volume.of(noise(8, 40, 40), axes), Volume.of(well_painted(1, 8, 40, 40), "TZYX")
    (found,) = (f for f in checkup(image, labels, dims=3) if f.kind == "axes")
    assert "a size along X and none along Z, taken for as deep as wide" in found.sentence
    assert not [f for f in checkup(image, labels, dims=2) if f.kind == "axes"]


def test_constant_and_saturated_channels_are_named():
    image = noise(40, 40, 3)
    image[..., 1] = 7
    image[:10, :, 2] = 255
    found = checkup(Volume.of(image, "YXC", "image"), Volume.of(well_painted(40, 40)))
    assert [f.kind for f in found if f.kind in ("constant", "saturated")] == ["constant", "saturated"]
    assert "channel 1: found nothing but 7" in found[0].sentence
    assert "channel 2: found 25% of the voxels at the highest value, 255" in found[1].sentence
    mask = well_painted(40, 40)
    assert "saturated" not in kinds(mask, mask), "the highest class of a mask is not cut off"
    assert kinds(np.full((40, 40), np.nan), mask)[:2] == ["numbers", "constant"]


def test_a_sparse_image_is_named():
    image = np.zeros((60, 60), np.uint16)
    image[7:10, 3:9] = np.arange(100, 118).reshape(3, 6)
    [found] = [f for f in checkup(Volume.of(image), Volume.of(well_painted(60, 60))) if f.kind == "sparse"]
    assert found.sentence.startswith("array: found more than 99 % of the voxels at one value, 0, expected")


def test_two_classes_on_padding_are_found_and_one_on_black_background_is_not():
    image = np.zeros((80, 40), np.uint8)
    image[40:] = noise(40, 40)
    labels = np.zeros((80, 40), np.uint8)
    labels[4:10], labels[20:26] = 1, 2
    assert "alike" in kinds(image, labels)
    labels[20:26], labels[60:66] = 0, 2
    assert kinds(image, labels) == []


def test_much_of_an_image_darker_than_all_paint_is_found():
    image = noise(80, 80) // 4
    image[:20] += 150
    labels = np.zeros((80, 80), np.uint8)
    labels[2:8], labels[12:18] = 1, 2
    assert kinds(image, labels) == ["unlike"]
    labels[50:56] = 3
    assert kinds(image, labels) == []


def test_what_stops_comes_first_and_findings_become_json():
    labels = well_painted(40, 30)
    found = checkup(Volume.of(np.zeros((40, 40), np.uint8)), Volume.of(labels))
    assert [f.kind for f in found] == ["shape", "constant"]
    assert findings_json(found)[0]["remedies"] == (
        {"action": "layer", "value": None, "place": None, "axes": None},
    )


class Huge:
    """A label volume of 4 TB, painted nowhere but in a stroke; counts what is read of it."""

    shape, dtype = (4000, 32768, 32768), np.dtype(np.uint8)
    read = 0

    def __getitem__(self, index):
        part = np.zeros([len(range(*s.indices(n))) for s, n in zip(index, self.shape, strict=True)], np.uint8)
        self.read += part.size
        return part


def test_of_a_huge_volume_little_is_read_and_nothing_is_said_of_what_was_not_seen():
    image, labels = Huge(), Huge()
    found = checkup(Volume.of(image), Volume.of(labels))
    assert [f.kind for f in found] == ["constant"]
    assert image.read < 2**23
    assert labels.read < 2**26


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["unlabelled", "background"]))
def test_quick_paint_counts_every_voxel_and_remembers_true_places(seed, zero):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (rng.integers(1, 4), rng.integers(1, 130), rng.integers(1, 130)), np.uint8)
    paint = quick_paint(Volume.of(labels, "ZYX"), zero)
    values, counts = np.unique(labels, return_counts=True)
    expected = {int(v): int(n) for v, n in zip(values, counts, strict=True) if v or zero == "background"}
    assert {v: n for v, n in paint.counts.items() if n} == expected
    np.testing.assert_array_equal(labels[tuple(paint.where[:, 1:].T)], paint.value)
