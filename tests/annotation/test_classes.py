from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.classes import IGNORE, Classes, default_color, find_classes
from napari_limn.errors import LimnError
from napari_limn.specs import from_json, to_json

several_values = st.sets(st.integers(1, 2**32), min_size=2, max_size=12).map(lambda v: tuple(sorted(v)))


@given(values=several_values, data=st.data())
@settings(max_examples=60, deadline=None)
def test_indices_go_to_values_and_back(values, data):
    classes = Classes(values)
    drawn = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=30))
    painted = classes.to_values(np.array(drawn))
    assert painted.tolist() == [values[i] for i in drawn]
    assert classes.to_indices(painted).tolist() == drawn


@given(values=several_values, labels=st.lists(st.integers(0, 2**32), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_every_label_that_is_no_class_is_ignored(values, labels):
    labels = labels + list(values)
    expected = [values.index(v) if v in values else IGNORE for v in labels]
    assert Classes(values).to_indices(np.array(labels)).tolist() == expected


@given(values=several_values | st.sets(st.integers(1, 300), min_size=2).map(lambda v: tuple(sorted(v))))
@settings(max_examples=40, deadline=None)
def test_bytes_find_the_classes_that_longer_numbers_find(values):
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = Classes(values).to_indices(labels)
    assert found.dtype == np.int16
    assert found.tolist() == Classes(values).to_indices(labels.astype(np.int64)).tolist()


def test_zero_is_ignored_when_unlabelled_and_a_class_when_background():
    labels = np.array([[0, 4], [9, 0]], np.uint8)
    assert find_classes({0, 4, 9}).to_indices(labels).tolist() == [[IGNORE, 0], [1, IGNORE]]
    assert find_classes({0, 4, 9}, "background").to_indices(labels).tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16, np.uint32, np.int64, np.uint64])
def test_labels_of_every_integer_type_find_their_class(dtype):
    assert Classes((1, 300)).to_indices(np.array([0, 1], dtype)).tolist() == [IGNORE, 0]


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32), (2**32, np.uint64)],
)
def test_the_smallest_type_that_holds_every_value(largest, dtype):
    classes = Classes((1, largest))
    painted = classes.to_values(np.array([0, 1]))
    assert classes.dtype == dtype == painted.dtype
    assert painted.tolist() == [1, largest]


def test_one_painted_value_names_both_ways_out():
    with pytest.raises(LimnError) as error:
        find_classes({0, 5})
    sentence = str(error.value)
    assert "only one painted value (5)" in sentence
    assert "background as a class" in sentence
    assert "0 is background" in sentence


def test_the_second_way_out_works():
    classes = find_classes({5}, "background")
    assert classes.values == (0, 5)
    assert classes.names == ("background", "class 5")


def test_nothing_painted_asks_for_two_classes():
    with pytest.raises(LimnError, match=r"no painted voxel.*at least two classes.*paint some"):
        find_classes({0})


def test_only_background_asks_for_a_painted_class():
    with pytest.raises(LimnError, match=r"only background \(0\).*at least one painted class"):
        find_classes({0}, "background")


@pytest.mark.parametrize("zero", ["unlabelled", "background"])
def test_a_negative_value_is_named(zero):
    with pytest.raises(LimnError, match=r"negative label -3.*0 and above.*renumber"):
        find_classes({-3, 1, 2}, zero)


@pytest.mark.parametrize("values", [(2, 1), (1, 1, 2)])
def test_values_must_ascend_and_differ(values):
    with pytest.raises(LimnError, match="ascending and different"):
        Classes(values)


def test_an_unknown_meaning_of_zero_is_refused():
    with pytest.raises(LimnError, match="'nothing'.*'unlabelled' or 'background'"):
        Classes((1, 2), "nothing")


def test_names_and_colours_must_be_as_many_as_the_values():
    with pytest.raises(LimnError, match="2 classes with 1 names"):
        Classes((1, 2), names=("axon",))


def test_given_names_and_colours_win_over_the_defaults():
    red = (1.0, 0.0, 0.0, 1.0)
    classes = find_classes({3, 7}, colors={7: red}, names={3: "axon"})
    assert classes.names == ("axon", "class 7")
    assert classes.color_of == {3: default_color(3), 7: red}


def test_default_colours_are_valid_opaque_and_differ():
    colors = [default_color(v) for v in range(40)]
    assert len(set(colors)) == 40
    assert all(0 <= c <= 1 for color in colors for c in color)
    assert {color[3] for color in colors} == {1.0}


def test_merged_keeps_old_classes_adds_new_ones_and_takes_new_names():
    red, blue = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
    old = Classes((2, 9), names=("axon", "myelin"), colors=(red, red))
    new = Classes((5, 9), names=("cell", "sheath"), colors=(blue, blue))
    merged = old.merged(new)
    assert merged.values == (2, 5, 9)
    assert merged.name_of == {2: "axon", 5: "cell", 9: "sheath"}
    assert merged.color_of == {2: red, 5: blue, 9: blue}


def test_merged_refuses_two_meanings_of_zero():
    with pytest.raises(LimnError, match="0 as unlabelled.*0 is background.*train a new model"):
        Classes((1, 2)).merged(Classes((0, 1), "background"))


@given(values=several_values)
@settings(max_examples=25, deadline=None)
def test_classes_survive_json(values):
    classes = Classes(values, names=tuple(f"n{v}" for v in values))
    assert from_json(Classes, to_json(classes)) == classes


@pytest.mark.parametrize("color", ["red", (1, 0, 0), 0.5, (1, 0, 0, "x")])
def test_colours_that_could_not_be_loaded_again_are_refused(color):
    with pytest.raises(LimnError, match="expected red, green, blue and opacity"):
        Classes((1, 2), colors=(color, (0, 0, 1, 1)))


def test_names_that_are_no_text_are_refused():
    with pytest.raises(LimnError, match="found class name 5, expected text"):
        Classes((1, 2), names=("soma", 5))
