"""The record of what a layer is, and what others do to the metadata in which it stands."""

from __future__ import annotations

import copy
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_limn._napari.layers.facts import KEY, LayerFacts, facts_of, note, set_facts


class Layer:
    """As napari's: setting the metadata empties the old dictionary, fills it anew, and announces that."""

    def __init__(self, metadata=None, name="cells"):
        self.name, self.unique_id = name, uuid.uuid4()
        self._metadata = dict(metadata or {})
        self.announced = 0

    @property
    def metadata(self):
        return self._metadata

    @metadata.setter
    def metadata(self, value):
        self._metadata.clear()
        self._metadata.update(value)
        self.announced += 1


TEXT = st.none() | st.text(max_size=6)
FACTS = st.builds(
    LayerFacts,
    model=TEXT,
    kind=TEXT,
    difference=st.just(()) | st.tuples(st.text(max_size=4), st.text(max_size=4)),
    audit=TEXT,
    image=TEXT,
    name=TEXT,
    file=TEXT,
    unfinished=st.booleans(),
    class_names=st.dictionaries(st.integers(0, 300), st.text(min_size=1, max_size=4), max_size=3),
    zero=st.sampled_from([None, "unlabelled", "background"]),
    image_id=TEXT,
)
PREDICTION = LayerFacts(model="m", image="cells", kind="labels", name="cells labels", class_names={1: "axon"})


@given(FACTS)
def test_facts_come_back_as_they_were_written_also_from_json(facts):
    metadata = facts.to_metadata()
    assert set(metadata) <= {KEY}
    assert LayerFacts.from_metadata(metadata) == facts
    assert LayerFacts.from_metadata(json.loads(json.dumps(metadata))) == facts


@given(FACTS, FACTS)
def test_setting_facts_leaves_what_others_keep_there(before, after):
    layer = Layer({**before.to_metadata(), "of another plugin": [1]})
    set_facts(layer, after)
    assert facts_of(layer) == after
    assert layer.metadata["of another plugin"] == [1]
    assert layer.announced == (before != after)


def test_what_is_noted_of_a_copy_is_not_noted_of_the_layer():
    layer = Layer(PREDICTION.to_metadata())
    shallow, deep = Layer(layer.metadata), copy.deepcopy(layer)
    note(shallow, name="cells labels copy", class_names={1: "fat"})
    note(deep, unfinished=True)
    assert facts_of(layer) == PREDICTION
    assert facts_of(shallow).name == "cells labels copy"
    assert facts_of(deep).unfinished


def test_layers_of_earlier_versions_are_read_and_written_anew():
    old = {
        "napari-limn": {"model": "m", "image": "cells", "kind": "labels", "name": "cells labels"},
        "napari-limn classes": {1: "axon"},
        "napari-limn zero": "background",
        "napari-limn file": "out.tif",
        "napari-limn unfinished": True,
    }
    layer = Layer(old)
    facts = LayerFacts(
        "m", "labels", (), None, "cells", "cells labels", "out.tif", True, {1: "axon"}, "background"
    )
    assert facts_of(layer) == facts
    note(layer, unfinished=False)
    assert set(layer.metadata) == {KEY}
    assert not facts_of(layer).unfinished
    assert facts_of(layer).class_names == {1: "axon"}
    assert facts_of(Layer({"napari-limn image": "cells"})) == LayerFacts(image="cells")
    assert facts_of(Layer({"napari-limn": {"difference": ["a", "b"]}})).difference == ("a", "b")
    assert facts_of(Layer({"napari-limn": {"audit": "digest"}})).audit == "digest"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {KEY: None},
        {KEY: "a text"},
        {KEY: {"model": 5, "difference": 3, "class_names": [1], "zero": "nothing", "unfinished": "no"}},
        {KEY: {"something": "new"}},
    ],
)
def test_what_is_no_fact_counts_as_missing(metadata):
    assert facts_of(Layer(metadata)) == LayerFacts()


def test_what_is_no_layer_has_no_facts():
    assert facts_of("a choice of another kind") == LayerFacts()
    assert facts_of(None) == LayerFacts()


@pytest.mark.parametrize(
    ("facts", "made_here", "prediction", "comparison"),
    [
        (LayerFacts(), False, False, False),
        (LayerFacts(image="cells", class_names={1: "axon"}, zero="background"), False, False, False),
        (LayerFacts(image="cells", file="out.tif", unfinished=True), False, False, False),
        (PREDICTION, True, True, False),
        (LayerFacts(difference=("a", "b")), True, False, True),
        (LayerFacts(audit="digest"), True, False, True),
    ],
)
def test_what_a_layer_counts_as(facts, made_here, prediction, comparison):
    assert (facts.is_made_here, facts.is_prediction, facts.is_comparison) == (
        made_here,
        prediction,
        comparison,
    )


def test_a_prediction_handed_over_is_the_user_s_and_keeps_its_image_classes_and_file():
    facts = LayerFacts(
        "m", "labels", (), None, "cells", "cells labels", "out.tif", True, {1: "axon"}, "background"
    )
    own = facts.handed_over()
    assert not own.is_made_here
    assert own.name is None
    assert own == LayerFacts(
        image="cells", file="out.tif", unfinished=True, class_names={1: "axon"}, zero="background"
    )


def test_what_belongs_to_an_image_belongs_to_it_under_any_name():
    image, namesake = Layer(name="cells"), Layer(name="cells")
    facts = LayerFacts.of(image, model="m", kind="labels")
    assert facts.image == "cells"
    assert facts.belongs_to(image)
    assert not facts.belongs_to(namesake)
    image.name = "cells of Monday"
    assert facts.belongs_to(image)
    assert not facts.belongs_to(copy.deepcopy(namesake))
    assert facts.has_image_of(LayerFacts.of(image))
    assert not facts.has_image_of(LayerFacts.of(namesake))


def test_layers_of_earlier_versions_belong_to_the_image_of_a_name():
    image = Layer(name="cells")
    earlier = LayerFacts(model="m", image="cells", kind="labels")
    assert earlier.belongs_to(image)
    assert earlier.has_image_of(LayerFacts.of(image))
    image.name = "axons"
    assert not earlier.belongs_to(image)
    assert not LayerFacts().belongs_to(image)
