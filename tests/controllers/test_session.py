"""What windows share, what each has of its own, and what a choice keeps."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from fake_box import new_session

from napari_limn._napari.panel.choices import in_channel_order, kept_choice
from napari_limn._napari.panel.session import (
    FewerThreads,
    Previews,
    RunQueue,
    Session,
    Shared,
    session_of,
    shared_models,
)
from napari_limn.errors import LimnError


class Viewer:
    """Anything that can be held weakly."""


def test_a_viewer_has_one_session_also_by_its_stand_in():
    viewer, other = Viewer(), Viewer()
    session = session_of(viewer)
    assert session_of(viewer) is session
    assert session_of(SimpleNamespace(__wrapped__=viewer)) is session
    assert session_of(other) is not session
    assert session_of(other).models is session.models is shared_models()
    assert session_of(other).previews is not session.previews


def test_a_session_ends_with_its_viewer():
    viewer = Viewer()
    session = weakref.ref(session_of(viewer))
    del viewer
    gc.collect()
    assert session() is None


def test_a_model_of_another_window_is_offered_and_not_to_be_chosen():
    shared = Shared()
    here, there = Session(shared), Session(shared)
    heard = []
    here.models.listen(lambda name, origin: heard.append((name, here.is_of(origin), there.is_of(origin))))
    there.models.put("there", "model", origin=there)
    here.models.put("dropped", "model")
    assert heard == [("there", False, True), ("dropped", True, True)]
    assert here.models.names == ["dropped", "there"]


def test_who_listens_to_models_is_held_weakly_and_may_end():
    models, heard = new_session().models, []

    class Form:
        def offer(self, name, origin):
            heard.append(name)

    form = Form()
    models.listen(form.offer)
    models.put("one", "model")
    end = models.listen(lambda name, origin: heard.append(f"again {name}"))
    end()
    end()
    del form
    gc.collect()
    models.put("two", "model")
    assert heard == ["one"]


def test_live_runs_share_the_threads_and_the_last_gives_them_back():
    threads, before = FewerThreads(), torch.get_num_threads()
    with threads.during():
        fewer = torch.get_num_threads()
        assert 1 <= fewer <= max(1, before)
        with threads.during():
            assert torch.get_num_threads() == fewer
    assert torch.get_num_threads() == before


def test_a_preview_is_known_by_its_layer_and_images():
    previews, layer, image, other = Previews(), Viewer(), Viewer(), Viewer()
    previews.remember(layer, [image], "predictor")
    assert previews.predictor(layer, [image]) == "predictor"
    assert previews.predictor(layer, [image, other]) is previews.predictor(other, [image]) is None


def test_a_choice_stays_while_it_is_offered():
    made = str.isupper
    assert kept_choice("a", ["a", "b"], ["b", "a"], "b", made) == "a"
    assert kept_choice("a", ["a", "b"], ["b"], "b", made) == "b"


def test_what_was_made_here_gives_way_to_what_a_user_opens_unless_chosen_beside_it():
    made = str.isupper
    assert kept_choice("A", ["A"], ["b", "A"], "b", made) == "b"
    assert kept_choice("A", ["A", "b"], ["b", "c", "A"], "b", made) == "A"
    assert kept_choice(None, [], [], None, made) is None


def test_channels_come_in_the_order_of_the_layer_list():
    assert in_channel_order("b", {"d", "a", "b"}, ["a", "b", "c", "d"]) == ["b", "a", "d"]
    with pytest.raises(LimnError, match="there is no image layer; drag an image onto the window first"):
        in_channel_order(None, set(), [])


# ---- the queue of runs -------------------------------------------------------------------------------------------------
def queued(queue, name, said):
    return queue.enter(
        lambda: said.append(f"{name} starts"), lambda before: said.append(f"{name} waits for {before}")
    )


def test_runs_start_one_after_the_other_and_know_their_place():
    queue, said = RunQueue(), []
    first, second = queued(queue, "a", said), queued(queue, "b", said)
    queued(queue, "c", said)
    assert said == ["a starts", "b waits for 1", "c waits for 2"]
    said.clear()
    first.leave()
    assert said == ["b starts", "c waits for 1"]
    first.leave()
    second.leave()
    assert said[2:] == ["c starts"]


def test_a_run_that_waits_can_leave_and_the_others_move_up():
    queue, said = RunQueue(), []
    queued(queue, "a", said)
    second = queued(queue, "b", said)
    queued(queue, "c", said)
    said.clear()
    second.leave()
    assert said == ["c waits for 1"]


def test_all_windows_share_one_queue():
    shared = Shared()
    assert Session(shared).queue is Session(shared).queue
