"""Which classes the class list shows, and which can be chosen."""

from __future__ import annotations

from napari_limn._napari.painting.class_choice import ClassChoice
from napari_limn.annotation.legend import Legend

TWO = Legend.of({1, 2}, {1: "axon"}, {})
MANY = set(range(1, 90))


def test_two_classes_are_offered_at_least():
    choice = ClassChoice("strokes")
    assert choice.listed(Legend()).values == (1, 2)
    assert choice.listed(Legend.of({4}, {}, {})).values == (1, 4)
    assert choice.listed(TWO) == TWO
    assert ClassChoice("objects", painted=MANY).listed(Legend()).values == ()
    assert ClassChoice("audited", audited=True).listed(Legend.of({4}, {}, {})).values == (4,)


def test_a_class_that_is_not_there_is_refused():
    choice = ClassChoice("strokes", TWO, {1})
    assert choice.refusal(0) == choice.refusal(2) == ""
    assert "no class 3 yet" in choice.refusal(3)


def test_without_a_layer_no_class_is_added():
    assert not ClassChoice().may_add
    assert ClassChoice("strokes").may_add


def test_an_audit_has_the_classes_of_its_labels_only():
    choice = ClassChoice("audited", TWO, {1, 2}, audited=True)
    assert not choice.may_add
    assert choice.refusal(2) == ""
    assert "one of the classes of its labels" in choice.refusal(0)
    assert "one of the classes of its labels" in choice.refusal(3)
    background = Legend(TWO.names, TWO.colors, "background")
    assert ClassChoice("audited", background, audited=True).refusal(0) == ""


def test_a_class_that_was_painted_is_added_unless_values_number_objects():
    choice = ClassChoice("strokes", TWO, {1})
    assert [choice.is_missing(value) for value in (0, 2, 3)] == [False, False, True]
    assert not ClassChoice("objects", TWO, MANY).is_missing(3)
    assert not ClassChoice("audited", TWO, {1}, audited=True).is_missing(3)


def test_the_sentence_says_what_is_shown():
    assert "Add a labels layer" in ClassChoice().sentence
    assert "has 89 values: it numbers objects" in ClassChoice("cells", TWO, MANY).sentence
    assert ClassChoice("a", TWO, {1}).sentence == "Classes of “a”. Keys 1–9 choose, 0 erases."
    assert "erases" not in ClassChoice("a", TWO, {1}, audited=True).sentence
