"""Several reads at once: in order, no more than may be, errors as themselves."""

from __future__ import annotations

import threading

import pytest

from napari_limn.concurrency import in_parallel


def test_jobs_wait_together_and_come_in_their_order():
    together = threading.Barrier(3)

    def wait(number):
        together.wait(60)  # three of them, or nobody goes on
        return number

    assert list(in_parallel(wait, range(6), 3)) == list(range(6))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("limn-read")]


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_jobs_are_begun_than_may_be_under_way(count):
    begun = []
    results = in_parallel(lambda number: begun.append(number) or number, iter(range(100)), count)
    assert next(results) == 0
    assert len(begun) <= count
    results.close()
    assert len(begun) <= count


def test_an_error_of_a_job_comes_in_its_turn_and_ends_the_others():
    def broken(number):
        if number == 2:
            raise KeyError("a name")
        return number

    found = []
    with pytest.raises(KeyError, match="a name"):
        found.extend(in_parallel(broken, range(9), 3))
    results = in_parallel(broken, range(9), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="a name"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("limn-read")]
