"""The legend that follows from what a layer says of its classes."""

from __future__ import annotations

import pytest

from napari_limn import Classes
from napari_limn._napari.layers.layer_classes import LayerClasses
from napari_limn.annotation.classes import MOST, default_color
from napari_limn.annotation.legend import Legend

RED, GREEN, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)


def said(names=None, own=None, zero="unlabelled"):
    """What a layer says whose values have the default colours unless they have `own` ones."""
    colors = own or {}

    def look(values):
        return {
            v: colors.get(v, default_color(v)) for v in (range(1, 256) if values is None else values) if v
        }

    return LayerClasses(names or {}, colors, look, zero)


def test_a_legend_lists_what_has_a_name_or_a_chosen_colour_or_was_painted():
    layer = said({3: "axon"}, {5: RED, 6: default_color(6)})
    assert layer.legend().values == (3, 5)
    assert layer.legend({1, 2}).values == (1, 2, 3, 5)
    assert layer.legend({1}).names == {1: "class 1", 3: "axon", 5: "class 5"}
    assert layer.legend().color(5) == RED


@pytest.mark.parametrize("many", ["painted", "chosen"])
def test_values_that_number_objects_are_not_listed(many):
    values = range(1, MOST + 2)
    if many == "painted":
        assert said({1: "cell"}).legend(set(values)).values == (1,)
    else:
        assert said({1: "cell"}, dict.fromkeys(values, RED)).legend({2}).values == (1, 2)


def test_training_learns_all_colours_and_the_names_that_were_given():
    given = said({1: "class 1", 2: "axon"}, {2: RED}, "background").given()
    assert given.names == {2: "axon"}
    assert given.colors[2] == RED
    assert len(given.colors) == 255
    assert given.zero == "background"


def test_a_journal_keeps_what_a_new_layer_would_not_have():
    float32 = (0.20000000298, 0.0, 0.0, 1.0)
    kept = said({1: "axon"}, {2: float32, 3: default_color(3)}).kept({3, 4})
    assert kept.names == {1: "axon"}
    assert kept.colors == {2: (0.2, 0.0, 0.0, 1.0)}


def test_a_model_s_classes_complete_a_legend_and_take_nothing_away():
    model = Classes((1, 2), names=("a", "b"), colors=(GREEN, BLUE))
    legend = said({}, {1: RED}).completed(model, {1})
    assert legend.names == {1: "a", 2: "b"}
    assert (legend.color(1), legend.color(2)) == (RED, BLUE)
    assert said({1: "axon"}).completed(model, None).names == {1: "axon", 2: "b"}


def test_a_prediction_goes_along_where_it_calls_or_shows_a_class_alike():
    before = Legend.of({1, 2, 5}, {1: "axon", 2: "sheath"}, {1: BLUE, 2: GREEN})
    after = before.renamed(1, "axons").renamed(2, "fat").recoloured(1, GREEN).recoloured(2, BLUE)
    layer = said({0: "rest", 1: "axon", 2: "myelin"}, {1: RED, 2: GREEN})
    follows = layer.following(before, after)
    assert follows.names == {0: "rest", 1: "axons", 2: "myelin"}
    assert (follows.color(1), follows.color(2)) == (RED, BLUE)
    assert layer.following(before, before) is None
    assert said({7: "other"}).following(before, after) is None


def test_a_layer_is_coloured_anew_only_where_it_shows_another_colour():
    legend = Legend.of({1, 2}, {}, {1: RED, 2: GREEN})
    assert not said({}, {1: RED, 2: GREEN}).is_shown_otherwise(legend)
    assert not said({}, {1: (0.9996, 0.0, 0.0, 1.0), 2: GREEN}).is_shown_otherwise(legend)
    assert said({}, {1: RED, 2: BLUE}).is_shown_otherwise(legend)
    fallback = {1: default_color(1)}
    assert said({}, fallback).is_shown_otherwise(Legend.of({1, 2}, {}, {})), "2 has no colour of its own"
