from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Step, Warned, drain
from napari_limn.inference.spec import PredictSpec
from napari_limn.model import ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.specs import described, from_json, to_json
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.intensity import IntensitySpec

QUICK = settings(deadline=None, max_examples=60)

networks = st.integers(2, 3).flatmap(
    lambda ndim: st.builds(
        UNetSpec,
        in_channels=st.integers(1, 5),
        out_channels=st.integers(2, 6),
        factors=st.lists(st.tuples(*[st.integers(1, 3)] * ndim), min_size=1, max_size=5).map(tuple),
        width=st.integers(1, 64),
        max_width=st.integers(1, 1024),
        padding=st.sampled_from(["same", "valid"]),
        norm=st.sampled_from(["none", "batch", "group", "instance"]),
        down=st.sampled_from(["max", "strided", "max_1x1"]),
        skip=st.sampled_from(["concat", "attention", "nested"]),
    )
)
intensities = st.builds(IntensitySpec, low=st.floats(0, 49), high=st.floats(50, 100))
trainings = st.builds(
    TrainSpec,
    seconds=st.floats(0.1, 1e6),
    steps=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**32 - 1),
    zero=st.sampled_from(["unlabelled", "background"]),
    dims=st.sampled_from([2, 3]),
    network=st.none() | networks,
    patch=st.none() | st.lists(st.integers(1, 512), min_size=2, max_size=3).map(tuple),
    batch=st.integers(1, 32),  # of which the largest patches just fit
    rate=st.floats(1e-6, 1),
    held_out=st.floats(0, 0.5),
    intensity=intensities,
)


@st.composite
def models(draw):
    values = tuple(sorted(draw(st.sets(st.integers(1, 250), min_size=2, max_size=6))))
    count = len(values)
    share = st.floats(0, 1)
    classes = Classes(
        values,
        names=tuple(draw(st.lists(st.text(), min_size=count, max_size=count))),
        colors=tuple(draw(st.lists(st.tuples(share, share, share, share), min_size=count, max_size=count))),
    )
    size = st.floats(0.01, 100)
    return ModelSpec(
        network=UNetSpec(out_channels=count, width=draw(st.integers(1, 64))),
        classes=classes,
        intensity=draw(intensities),
        spacing=draw(st.tuples(size, size, size)),
        unit=draw(st.sampled_from(["pixel", "micrometer"])),
        steps=draw(st.integers(0, 10**9)),
        score=draw(st.none() | share),
    )


def through_text(spec):
    return json.loads(json.dumps(to_json(spec)))


@given(networks)
@QUICK
def test_a_network_comes_back_from_json(spec):
    assert from_json(UNetSpec, through_text(spec)) == spec


@given(trainings)
@QUICK
def test_a_training_comes_back_from_json(spec):
    assert from_json(TrainSpec, through_text(spec)) == spec


@given(models())
@QUICK
def test_a_model_comes_back_from_json(spec):
    found = from_json(ModelSpec, through_text(spec))
    assert found == spec
    assert hash(found) == hash(spec)


def test_a_prediction_comes_back_from_json():
    spec = PredictSpec(memory="1GB", precision="bfloat16", probabilities="uint8")
    assert from_json(PredictSpec, through_text(spec)) == spec
    assert from_json(PredictSpec, {"memory": 1 << 30}) == PredictSpec(memory=1 << 30)
    with pytest.raises(LimnError, match=r"PredictSpec.memory: found 1.5, expected a whole number or a text"):
        from_json(PredictSpec, {"memory": 1.5})


def test_what_is_left_out_takes_its_default():
    assert from_json(TrainSpec, {"batch": 2}) == TrainSpec(batch=2)
    assert from_json(UNetSpec, {}) == UNetSpec()


def test_to_json_is_complete_and_plain():
    found = through_text(TrainSpec(network=UNetSpec(width=4)))
    assert set(found) == set(TrainSpec.__dataclass_fields__)
    assert found["network"]["width"] == 4
    assert found["intensity"] == {"low": 1.0, "high": 99.0}


def test_unknown_keys_are_refused_by_name_at_every_depth():
    with pytest.raises(
        LimnError, match=r"UNetSpec: found unknown key dropuot, wdith, expected some of in_chan"
    ):
        from_json(UNetSpec, {"wdith": 3, "dropuot": 0.5, "width": 8})
    with pytest.raises(LimnError, match=r"UNetSpec: found unknown key wdith.*correct the spelling"):
        from_json(TrainSpec, {"network": {"wdith": 3}})
    with pytest.raises(LimnError, match=r"Classes: found unknown key colour"):
        from_json(ModelSpec, {"network": {}, "classes": {"values": [1, 2], "colour": "red"}})


def test_missing_keys_are_named():
    with pytest.raises(LimnError, match="ModelSpec: key classes, network is missing; add it"):
        from_json(ModelSpec, {"steps": 3})
    with pytest.raises(LimnError, match="Classes: key values is missing"):
        from_json(ModelSpec, {"network": {}, "classes": {}})


@pytest.mark.parametrize("found", [None, 3, "width", [1, 2], [["width", 3]]])
def test_only_an_object_is_a_spec(found):
    with pytest.raises(LimnError, match=rf"UNetSpec: found {type(found).__name__}, expected an object"):
        from_json(UNetSpec, found)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (UNetSpec, {"factors": 3}),
        (UNetSpec, {"factors": [2, 2]}),
        (UNetSpec, {"factors": [["a", "b"]]}),
        (UNetSpec, {"width": "8"}),
        (UNetSpec, {"width": 8.5}),
        (UNetSpec, {"padding": ["same"]}),
        (TrainSpec, {"seconds": "60"}),
        (TrainSpec, {"steps": "3"}),
        (TrainSpec, {"patch": 5}),
        (TrainSpec, {"rate": None}),
        (TrainSpec, {"intensity": {"low": "a"}}),
        (Classes, {"values": 3}),
        (Classes, {"values": ["a", "b"]}),
        (TrainSpec, {"dims": 2.0}),
        pytest.param(TrainSpec, {"seed": "x"}),
        pytest.param(TrainSpec, {"network": 5}),
        pytest.param(TrainSpec, {"intensity": 3}),
        pytest.param(TrainSpec, {"device": 3}),
        pytest.param(TrainSpec, {"device": "abacus"}),
        pytest.param(TrainSpec, {"batch": 2.5}),
    ],
)
def test_wrong_types_are_refused_with_the_name_of_the_spec(kind, wrong):
    with pytest.raises(
        LimnError, match=kind.__name__ if "intensity" not in wrong else "IntensitySpec|TrainSpec"
    ):
        from_json(kind, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"spacing": [1.0, 2.0]}),
        pytest.param({"network": 5}),
        pytest.param({"classes": {"values": [1, 2], "colors": [[1, 0], [0, 1]]}}),
        pytest.param({"spacing": "abc"}),
        pytest.param({"score": "x"}),
        pytest.param({"intensity": None}),
    ],
)
def test_wrong_types_in_a_model_are_refused(wrong):
    with pytest.raises(LimnError):
        from_json(ModelSpec, {"network": {}, "classes": {"values": [1, 2]}} | wrong)


def test_a_spec_that_does_not_fit_together_is_refused():
    with pytest.raises(LimnError, match="network of 2 outputs for 3 classes"):
        from_json(ModelSpec, {"network": {"out_channels": 2}, "classes": {"values": [1, 2, 3]}})


@dataclass(frozen=True)
class Made:
    numbers: tuple[int, ...] = field(default_factory=tuple)
    pair: tuple[str, IntensitySpec] | None = None


def test_tuples_of_specs_and_made_defaults_come_back():
    spec = Made((1, 2), ("a", IntensitySpec(2, 98)))
    assert from_json(Made, through_text(spec)) == spec
    assert from_json(Made, {}) == Made((), None)


EVENTS = [Warned("slow"), Step(1, 0.5, 0.7, 0.1), BlockDone(((0, 1),) * 4, 1, 2, 0.3), Warned("slow")]


def run(events, result, log):
    try:
        for event in events:
            log.append(event)
            yield event
        return result
    finally:
        log.append("closed")


def test_drain_returns_the_value_of_the_run_and_hands_on_every_event():
    heard, log = [], []
    result = object()
    assert drain(run(EVENTS, result, log), heard.append) is result
    assert heard == EVENTS
    assert log == [*EVENTS, "closed"]


def test_drain_without_a_listener_and_without_events():
    log = []
    assert drain(run(EVENTS, 42, log)) == 42
    assert log[:-1] == EVENTS
    assert drain(run([], "done", [])) == "done"


def test_events_are_handed_on_before_the_run_goes_on():
    log = []
    drain(run(EVENTS, None, log), lambda event: log.append(("heard", event)))
    assert log[:-1] == [item for event in EVENTS for item in (event, ("heard", event))]


def test_errors_of_the_run_come_through():
    def failing():
        yield EVENTS[0]
        raise LimnError("found nothing")

    heard = []
    with pytest.raises(LimnError, match="found nothing"):
        drain(failing(), heard.append)
    assert heard == EVENTS[:1]


def test_an_error_of_the_listener_ends_the_run():
    log = []

    def listen(event):
        raise KeyboardInterrupt

    going = run(EVENTS, None, log)
    with pytest.raises(KeyboardInterrupt):
        drain(going, listen)
    going.close()
    assert log == [EVENTS[0], "closed"]


def test_events_are_frozen():
    with pytest.raises(AttributeError):
        EVENTS[0].message = "fast"


@pytest.mark.parametrize("kind", [TrainSpec, PredictSpec, IntensitySpec, ModelSpec])
def test_every_field_of_a_spec_is_described_in_one_plain_line(kind):
    found = described(kind)
    assert set(found) == set(kind.__dataclass_fields__)
    for text in found.values():
        assert text
        assert "`" not in text
        assert "\n" not in text


def test_a_class_without_descriptions_has_none():
    @dataclass
    class Plain:
        width: int = 1

    assert described(Plain) == {}
