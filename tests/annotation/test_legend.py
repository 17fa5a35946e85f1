"""Names and colours of paint values before there is a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_limn import Classes, LimnError
from napari_limn.annotation.classes import default_color, find_classes
from napari_limn.annotation.legend import Legend, names_from, painted_values

RED, GREEN = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)
values = st.sets(st.integers(1, 40), max_size=8)


@given(values, st.integers(1, 12))
def test_added_classes_are_new_and_the_others_stay(found, times):
    legend = before = Legend.of(found, {}, {})
    for _ in range(times):
        legend, value = legend.added()
        assert value not in before.values
        assert legend.color(value) == default_color(value)
    assert len(legend.values) == len(found) + times
    assert set(before.values) <= set(legend.values)


def test_a_gap_is_filled_before_a_new_number_is_taken():
    legend, value = Legend.of({1, 3}, {}, {}).added()
    assert value == 2
    assert legend.names == {1: "class 1", 2: "class 2", 3: "class 3"}


def test_zero_is_never_listed():
    assert Legend.of({0, 2}, {0: "background"}, {}).values == (2,)
    assert Legend.of({2}, {}, {}).with_value(0).values == (2,)


def test_renaming_tidies_spaces_and_refuses_what_would_confuse():
    legend = Legend.of({1, 2}, {1: "axon"}, {})
    assert legend.renamed(2, "  thick   myelin ").names[2] == "thick myelin"
    assert legend.renamed(1, "axon").names == legend.names
    with pytest.raises(LimnError, match="an empty name for class 2"):
        legend.renamed(2, "   ")
    with pytest.raises(LimnError, match="class 1 is called “axon” already"):
        legend.renamed(2, "axon")
    with pytest.raises(LimnError, match="found 7, expected one of the classes 1, 2"):
        legend.renamed(7, "fat")


def test_recolouring_changes_one_colour():
    legend = Legend.of({1, 2}, {}, {1: RED}).recoloured(2, GREEN)
    assert (legend.color(1), legend.color(2)) == (RED, GREEN)
    with pytest.raises(LimnError, match="add it first"):
        legend.recoloured(3, RED)


def test_a_model_gives_names_only_where_the_person_gave_none():
    classes = Classes((0, 1, 2, 5), "background", ("rest", "axon", "myelin", "fat"), (RED, RED, RED, RED))
    legend = Legend.of({1, 2}, {2: "sheath"}, {2: GREEN}).completed(classes.name_of, classes.color_of)
    assert legend.names == {1: "axon", 2: "sheath", 5: "fat"}
    assert legend.color(2) == GREEN
    assert legend.color(5) == RED


@given(values.filter(lambda found: len(found) > 1), st.data())
def test_names_and_colours_reach_the_classes_of_a_model(found, data):
    legend = Legend.of(found, {}, {})
    value = data.draw(st.sampled_from(sorted(found)))
    legend = legend.renamed(value, "nucleus").recoloured(value, GREEN)
    classes = find_classes(found, "unlabelled", legend.colors, legend.names)
    assert classes.name_of[value] == "nucleus"
    assert classes.color_of[value] == GREEN
    assert {v: n for v, n in classes.name_of.items() if v != value} == {
        v: n for v, n in legend.names.items() if v != value
    }


@pytest.mark.parametrize("found", [None, 5, [], "axon", {"x": "a"}, {"1": 3}, {"1": ""}, {"-1": "a"}])
def test_metadata_of_another_kind_name_nothing(found):
    assert names_from(found) == {}


def test_names_come_from_keys_of_both_kinds():
    assert names_from({"1": "axon", 2: "myelin"}) == {1: "axon", 2: "myelin"}


@given(
    arrays(
        st.sampled_from([np.uint8, np.uint16, np.int32, np.uint64, np.int64]),
        (7, 9),
        elements=st.sampled_from([0, 0, 0, 1, 2, 200]),
    ),
    st.sampled_from([0, 50]),
)
def test_painted_values_are_those_in_the_array(array, more):
    array = array + np.asarray(more, array.dtype)
    assert painted_values(array) == set(np.unique(array).tolist()) - {0}
    assert painted_values(array.T) == painted_values(array)


def test_values_too_high_to_count_are_found_too():
    assert painted_values(np.array([0, 5_000_000, 7])) == {7, 5_000_000}


def test_what_is_not_in_memory_or_too_large_is_not_looked_through():
    assert painted_values(np.broadcast_to(np.uint8(1), (10_000, 10_000))) is None
    assert painted_values([[1, 2]]) is None
    assert painted_values(np.zeros((0, 4), np.uint8)) == set()
