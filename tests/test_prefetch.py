"""A stage that works ahead: in order, errors as themselves, an end that stays, and nothing kept alive behind it."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import suppress

import pytest

from napari_limn.concurrency import Prefetch, Stopped


class Tensor:
    """Stands for something large."""


@pytest.fixture
def no_collector():
    """What is free only after a collection is not free when a run needs it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "limn"]


def patient(ahead):
    """The next item, however long it takes."""
    while (found := ahead.next_within(1.0)) is None:
        pass
    return found


def test_items_come_in_order_and_the_end_stays_the_end():
    with Prefetch(lambda _: iter(range(1, 50))) as numbers:
        assert list(numbers) == list(range(1, 50))
        for _ in range(3):
            with pytest.raises(StopIteration):
                numbers.next_within(60)
        assert list(numbers) == []
    assert not threads()


def test_an_error_comes_as_itself_after_the_items_before_it_and_then_the_end():
    def broken(_):
        yield 1
        raise KeyError("a name")

    with Prefetch(broken) as found:
        assert patient(found) == 1
        with pytest.raises(KeyError, match="a name"):
            patient(found)
        with pytest.raises(StopIteration):
            found.next_within(60)
    assert not threads()


def test_an_error_while_a_stage_is_closed_comes_as_itself_too():
    def broken(_):
        try:
            yield 1
        finally:
            raise OSError("cannot be closed")

    with Prefetch(broken) as found, pytest.raises(OSError, match="cannot be closed"):
        list(found)


def test_closing_twice_is_fine_and_leaves_the_end():
    found = Prefetch(lambda _: iter([1, 2, 3, 4, 5]))
    found.close()
    found.close()
    with pytest.raises(StopIteration):
        found.next_within(60)
    assert list(found) == []


def test_no_more_than_the_queue_holds_is_made_ahead():
    made, full = [], threading.Event()

    def counted(_):
        for number in range(100):
            made.append(number)
            if number == 3:  # two wait, one was taken, and one is in the hands of the thread
                full.set()
            yield number

    with Prefetch(counted, 2) as found:
        assert patient(found) == 0
        assert full.wait(60)
        assert max(made) == 3
    assert max(made) == 3


def test_closing_ends_a_stage_that_asks_whether_to_go_on_and_closes_its_generator():
    began, ended = threading.Event(), []

    def endless(check):
        try:
            began.set()
            while True:
                check()
            yield
        except Stopped:
            ended.append("stopped")
            raise
        finally:
            ended.append("closed")

    with Prefetch(endless):
        assert began.wait(60)
    assert ended == ["stopped", "closed"]
    assert not threads()


@pytest.mark.usefixtures("no_collector")
def test_what_waits_is_free_once_closed():
    made, full = [], threading.Event()

    def tensors(_):
        for number in range(9):
            tensor = Tensor()
            made.append(weakref.ref(tensor))
            if number == 2:
                full.set()
            yield tensor

    found = Prefetch(tensors, 2)
    assert full.wait(60)
    assert any(ref() is not None for ref in made)
    found.close()
    assert [ref() for ref in made if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_what_a_stage_held_is_free_when_its_error_arrives_whether_it_is_taken_or_left():
    held, failed = [], threading.Event()

    def work(tensor):
        more = Tensor()
        held.append(weakref.ref(more))
        failed.set()
        raise MemoryError(f"no room beside {type(tensor).__name__}")

    def broken(_):
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        yield tensor
        work(tensor)

    with Prefetch(broken) as found:
        assert isinstance(patient(found), Tensor)
        with pytest.raises(MemoryError, match="no room beside Tensor") as caught:
            patient(found)
        assert caught.value.__traceback__ is not None
        assert [ref() for ref in held if ref() is not None] == []  # even while the error lives
    failed.clear()
    left = Prefetch(broken)
    assert failed.wait(60)
    left.close()
    assert [ref() for ref in held if ref() is not None] == []


@pytest.mark.usefixtures("no_collector")
def test_an_error_that_was_handled_is_gone_itself():
    gone = []

    class Odd(Exception):  # noqa: N818
        pass

    def broken(_):
        error = Odd()
        gone.append(weakref.ref(error))
        raise error
        yield

    def handled():
        with Prefetch(broken) as found, suppress(Odd):
            patient(found)

    handled()
    assert gone[0]() is None
