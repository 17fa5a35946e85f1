from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.specs import from_json, to_json
from napari_limn.training.planning.presets import pooling_factors

specs = st.integers(2, 3).flatmap(
    lambda ndim: st.builds(
        UNetSpec,
        in_channels=st.integers(1, 5),
        out_channels=st.integers(1, 9),
        factors=st.lists(st.tuples(*[st.integers(1, 3)] * ndim), min_size=1, max_size=5).map(tuple),
        width=st.integers(1, 64),
        max_width=st.integers(1, 512),
        dropout=st.floats(0, 0.9),
        **{name: st.sampled_from(choices) for name, choices in CHOICES.items() if name != "head"},
    )
)


@given(spec=specs)
@settings(max_examples=40, deadline=None)
def test_a_spec_survives_json(spec):
    assert from_json(UNetSpec, json.loads(json.dumps(to_json(spec)))) == spec


def test_an_unknown_key_is_named_with_the_known_ones():
    with pytest.raises(
        LimnError, match=r"unknown key dropuot, expected some of in_channels,.*correct the spelling"
    ):
        from_json(UNetSpec, {"dropuot": 0.5})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("padding", "reflect", "'reflect', expected one of same, valid"),
        ("norm", "layer", "'layer', expected one of none, batch, channel, rms, group, instance"),
        ("down", "mean", "'mean', expected one of max, strided, max_1x1"),
        ("skip", "sum", "'sum', expected one of concat, attention, nested"),
        ("up", "bilinear", "'bilinear', expected one of transposed, interpolate"),
        ("block", "dense", "'dense', expected one of plain, residual"),
        ("head", "tanh", "'tanh', expected one of softmax, sigmoid"),
        ("supervised", True, "found it with skip 'concat', expected 'nested'"),
        ("dropout", 1.0, "found 1.0, expected a share of 0 to below 1"),
        ("pruned", 1, "found 1, expected 1 to 4 in a supervised network"),
        ("width", 0, "found 0, expected a whole number of 1 or more"),
        ("in_channels", 1.5, "found 1.5, expected a whole number"),
        ("factors", (), "expected one tuple of 2 or 3 factors a level"),
        ("factors", ((2, 2), (2, 2, 2)), "expected one tuple of 2 or 3 factors a level"),
        ("factors", ((2,),), "expected one tuple of 2 or 3 factors a level"),
        ("factors", ((2, 0),), "expected whole numbers of 1 or more"),
        ("factors", ((2, 2.0),), "found 2.0, expected a whole number"),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value, expected):
    with pytest.raises(LimnError) as error:
        UNetSpec(**{field: value})
    assert f"UNetSpec.{field}" in str(error.value)
    assert expected in str(error.value)


def test_a_sigmoid_is_for_two_classes():
    assert UNetSpec(head="sigmoid", out_channels=2).head == "sigmoid"
    with pytest.raises(LimnError, match="'sigmoid' for 3 classes, expected 2; choose 'softmax'"):
        UNetSpec(head="sigmoid", out_channels=3)


def test_channels_double_up_to_the_maximum():
    spec = UNetSpec(width=16, max_width=100, factors=((2, 2),) * 5)
    assert [spec.channels(i) for i in range(6)] == [16, 32, 64, 100, 100, 100]


def test_strides_multiply_along_each_axis():
    spec = UNetSpec(factors=((1, 2, 3), (2, 2, 3)))
    assert [[spec.stride(level, axis) for axis in range(3)] for level in range(3)] == [
        [1, 1, 1],
        [1, 2, 3],
        [2, 4, 9],
    ]


def test_kernels_look_along_an_axis_from_the_level_on_which_it_is_pooled():
    spec = UNetSpec(factors=((1, 2, 2), (2, 2, 2), (1, 2, 2)))
    assert [spec.kernel(level) for level in range(4)] == [(1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert UNetSpec(factors=((1, 2, 2),)).kernel(1) == (1, 3, 3)


def test_a_plain_network_has_the_outermost_diagonal_of_the_nested_one():
    plain, nested = UNetSpec(factors=((2, 2),) * 3), UNetSpec(factors=((2, 2),) * 3, skip="nested")
    assert plain.nodes() == ((2, 1), (1, 2), (0, 3))
    assert nested.nodes() == ((0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 3))
    assert plain.skips(0, 3) == ((0, 0),)
    assert nested.skips(0, 3) == ((0, 0), (0, 1), (0, 2))


@given(spec=specs)
@settings(max_examples=40, deadline=None)
def test_every_node_comes_after_the_nodes_it_needs(spec):
    known = {(i, 0) for i in range(spec.depth + 1)}
    for node in spec.nodes():
        assert {spec.below(*node), *spec.skips(*node)} <= known
        known.add(node)
    assert spec.nodes()[-1] == (0, spec.depth)


@pytest.mark.parametrize(
    ("norm", "exact"),
    [
        ("none", True),
        ("batch", True),
        ("channel", True),
        ("rms", True),
        ("group", False),
        ("instance", False),
    ],
)
def test_only_norms_that_ignore_the_tile_are_exact(norm, exact):
    assert UNetSpec(norm=norm).tile_exact is exact


@pytest.mark.parametrize(
    ("spacing", "depth", "expected"),
    [
        ((1.0, 1.0), 2, ((2, 2), (2, 2))),
        ((1.0, 1.0, 1.0), 2, ((2, 2, 2), (2, 2, 2))),
        ((4.0, 1.0, 1.0), 3, ((1, 2, 2), (1, 2, 2), (2, 2, 2))),
        ((2.0, 1.0, 1.0), 2, ((1, 2, 2), (2, 2, 2))),
        ((1.4, 1.0, 1.0), 1, ((2, 2, 2),)),
        ((1.5, 1.0, 1.0), 2, ((1, 2, 2), (2, 2, 2))),
        ((30.0, 4.0, 4.0), 3, ((1, 2, 2), (1, 2, 2), (1, 2, 2))),
        ((0.25, 1.0, 1.0), 3, ((2, 1, 1), (2, 1, 1), (2, 2, 2))),
    ],
)
def test_pooling_makes_voxels_isotropic_on_the_way_down(spacing, depth, expected):
    assert pooling_factors(spacing, depth) == expected


@given(st.tuples(*[st.floats(0.1, 10)] * 3))
@settings(max_examples=40, deadline=None)
def test_after_enough_levels_voxels_differ_by_less_than_two(spacing):
    size = list(spacing)
    for factor in pooling_factors(spacing, 8):
        size = [s * f for s, f in zip(size, factor, strict=True)]
    assert max(size) / min(size) < 2.01
