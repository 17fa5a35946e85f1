from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import whole
from napari_limn.volume.intensity import IntensitySpec, Scaling, fit_scaling
from napari_limn.volume.volume import Volume

FULL = IntensitySpec(0, 100)


def fitted_and_applied(array, axes=None, spec=FULL):
    volume = Volume.of(array, axes)
    return fit_scaling(volume, spec).apply(volume.read(whole(volume.grid)))


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 99), (1, 101), (50, 50), (99, 1), (float("nan"), 99), (1, float("nan"))]
)
def test_percentiles_must_ascend_within_0_and_100(low, high):
    with pytest.raises(
        LimnError, match=rf"found percentiles {low} and {high}, expected 0 ≤ low < high ≤ 100"
    ):
        IntensitySpec(low, high)


def test_the_chosen_percentiles_become_0_and_1():
    values = np.random.default_rng(0).normal(100, 20, (4, 50, 60))
    scaling = fit_scaling(Volume.of(values), IntensitySpec(5, 90))
    low, high = np.percentile(values, [5, 90])
    assert scaling.low == pytest.approx((low,))
    assert scaling.width == pytest.approx((high - low,))
    scaled = scaling.apply(np.array([[low, high, (low + high) / 2]]))
    np.testing.assert_allclose(scaled, [[0, 1, 0.5]], atol=1e-6)


def test_every_channel_has_its_own_numbers():
    dim = np.linspace(0, 10, 400).reshape(20, 20)
    array = np.stack([dim, 1000 + 50 * dim], axis=-1)
    scaling = fit_scaling(Volume.of(array, "YXC"), FULL)
    assert scaling.low == pytest.approx((0, 1000))
    assert scaling.width == pytest.approx((10, 500))
    one, two = fitted_and_applied(array, "YXC")
    np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("value", [0, 7, -3.5])
def test_a_constant_image_becomes_0(value):
    array = np.full((3, 8, 8), value)
    assert fit_scaling(Volume.of(array)) == Scaling((float(value),), (1.0,))
    assert not fitted_and_applied(array).any()


@pytest.mark.parametrize(("ground", "sign"), [(0, 1), (100, 1), (4000, -1)])
@pytest.mark.parametrize("share", [0.002, 0.008])
def test_sparse_signals_are_scaled_by_their_own_range(ground, sign, share):
    rng = np.random.default_rng(0)
    array = np.full((200, 200), ground, np.int32)
    signal = rng.random(array.shape) < share
    array[signal] += sign * rng.integers(500, 3000, signal.sum())
    scaling = fit_scaling(Volume.of(array))
    assert np.percentile(array, 1) == np.percentile(array, 99)  # which says nothing of the signal
    low, high = np.percentile(array[signal], [1, 99])
    expected = (ground, high) if sign > 0 else (low, ground)
    assert (scaling.low[0], scaling.low[0] + scaling.width[0]) == pytest.approx(expected)
    assert np.abs(fitted_and_applied(array)).max() < 1.5


def test_a_value_on_half_of_an_image_changes_nothing():
    array = np.random.default_rng(0).integers(0, 255, (100, 100))
    array[:50] = 7
    assert fit_scaling(Volume.of(array)).low == (np.percentile(array, 1),)


def test_values_that_are_not_finite_do_not_count_and_become_0():
    array = np.arange(10000, dtype=np.float32).reshape(100, 100)
    holes = array.copy()
    holes[:10, 0], holes[10:20, 0], holes[20:30, 0] = np.nan, np.inf, -np.inf
    scaling = fit_scaling(Volume.of(holes), FULL)
    good = np.isfinite(holes)
    assert scaling.low == (array[good].min(),)
    assert scaling.width == (array[good].max() - array[good].min(),)
    scaled = scaling.apply(holes[None])[0]
    assert (scaled[~good] == 0).all()
    np.testing.assert_allclose(scaled[good], (array[good] - scaling.low[0]) / scaling.width[0], rtol=1e-6)


def test_an_image_of_nothing_but_nan_is_0_everywhere():
    array = np.full((8, 8), np.nan)
    assert fit_scaling(Volume.of(array)) == Scaling((0.0,), (1.0,))
    assert not fitted_and_applied(array).any()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f2", "f4", "f8", ">u2", ">f4", "?"])
def test_every_real_type_becomes_float32_between_0_and_1(dtype):
    array = (np.arange(100).reshape(10, 10) % 2 if dtype == "?" else np.arange(100).reshape(10, 10)).astype(
        dtype
    )
    scaled = fitted_and_applied(array)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_complex_voxels_are_refused_with_a_remedy():
    volume = Volume(np.zeros((4, 8, 8), np.complex64), Axes.of("ZYX"), "mri.tif")
    with pytest.raises(LimnError, match=r"mri\.tif: found voxels of type complex64, expected.*magnitude"):
        fit_scaling(volume)


def test_a_large_volume_gives_the_same_numbers_every_time_from_few_planes():
    class Counted:
        shape, dtype, planes = (2, 500, 64, 64), np.dtype("u2"), 0

        def __getitem__(self, index):
            t, z, y, x = (range(*s.indices(n)) for s, n in zip(index, self.shape, strict=True))
            self.planes += len(t) * len(z)
            return np.add.outer(np.add.outer(np.array(t) * 1000, z), np.add.outer(y, x))

    data = Counted()
    volume = Volume(data, Axes.of("TZYX"))
    scaling = fit_scaling(volume, FULL)
    assert data.planes == 16
    assert fit_scaling(volume, FULL) == scaling
    assert scaling == Scaling((0.0,), (1000.0 + 499 + 126,))


def test_of_a_gigantic_plane_only_its_middle_is_read():
    class Gigantic:
        shape, dtype, largest = (10**6, 10**6), np.dtype("u1"), 0

        def __getitem__(self, index):
            extents = [s.stop - s.start for s in index]
            self.largest = max(self.largest, int(np.prod(extents)))
            assert 499_900 < index[0].start < index[0].stop < 500_100
            return np.broadcast_to(np.uint8(9), extents)

    data = Gigantic()
    assert fit_scaling(Volume(data, Axes.of("YX"))) == Scaling((9.0,), (1.0,))
    assert data.largest <= 1 << 26


def test_a_plane_is_read_in_strips_and_gives_the_same_numbers(monkeypatch):
    data = np.random.default_rng(0).integers(0, 60_000, (3, 211, 130), np.uint16)
    seen = []

    class Strips:
        shape, dtype = data.shape, data.dtype

        def __getitem__(self, index):
            seen.append(data[index].nbytes)
            return data[index]

    monkeypatch.setattr("napari_limn.volume.intensity._SAMPLE", 3 * 211 * 130 // 9)
    once = fit_scaling(Volume.of(data, "CYX"))
    monkeypatch.setattr("napari_limn.volume.intensity._STRIP", 20_000)
    assert fit_scaling(Volume(Strips(), Axes.of("CYX"))) == once
    assert len(seen) > 5
    assert max(seen) <= 20_000


def test_the_sample_of_a_gigantic_plane_is_large_enough_for_a_percentile():
    row = np.random.default_rng(0).random(10**6, np.float32)

    class Gigantic:
        shape, dtype = (10**6, 10**6), row.dtype

        def __getitem__(self, index):
            rows, columns = index
            return np.broadcast_to(row[columns], (rows.stop - rows.start, columns.stop - columns.start))

    scaling = fit_scaling(Volume(Gigantic(), Axes.of("YX")), IntensitySpec(1, 99))
    assert scaling.low[0] == pytest.approx(0.01, abs=0.001)
    assert scaling.width[0] == pytest.approx(0.98, abs=0.001)


@given(st.integers(0, 9), st.integers(1, 10))
@settings(deadline=None, max_examples=50)
def test_a_tile_is_scaled_like_the_whole(start, extent):
    array = np.random.default_rng(1).integers(0, 1000, (12, 20)).astype(np.uint16)
    scaling = fit_scaling(Volume.of(array))
    whole_scaled = scaling.apply(array[None])
    tile = slice(start, start + extent)
    np.testing.assert_array_equal(scaling.apply(array[None, :, tile]), whole_scaled[..., tile])


def test_apply_leaves_its_input_alone():
    array = np.array([[1.0, np.nan, 3.0]], np.float32)
    before = array.copy()
    Scaling((1.0,), (2.0,)).apply(array)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("dtype", ["u4", "i8", "f8"])
def test_a_small_range_on_a_large_offset_is_kept(dtype):
    array = (np.arange(64) + 2**31 - 100).reshape(8, 8).astype(dtype)
    np.testing.assert_allclose(fitted_and_applied(array).ravel(), np.arange(64) / 63, atol=1e-3)


@pytest.mark.parametrize("top", [1e-50, 1e300])
def test_ranges_beyond_float32_are_scaled_too(top):
    array = np.linspace(0, top, 64).reshape(8, 8)
    np.testing.assert_allclose(fitted_and_applied(array).ravel(), np.linspace(0, 1, 64), atol=1e-5)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_a_few_values_far_beyond_the_percentiles_are_cut_to_what_features_can_hold(dtype):
    """As after a deconvolution: nearly nothing but in a few voxels."""
    array = np.zeros((64, 64), dtype)
    array[:, 1:] = np.arange(63) if dtype == "i8" else np.arange(63) * 1e-25
    array[0, :2] = (10**12, -(10**12))
    scaled = fit_scaling(Volume.of(array)).apply(array[None])[0]
    np.testing.assert_array_equal(scaled[0, :2], [1e6, -1e6])
    assert -0.1 < scaled[1:].min() < 0.1 < 0.9 < scaled[1:].max() < 1.1
