"""Steps and seconds of a run, and when it is scored: decided without a network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_limn.training import budget as module
from napari_limn.training.budget import Budget, ScoreSchedule


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def step(budget, count=1):
    for _ in range(count):
        budget.count_step()


def test_a_budget_of_steps_does_not_look_at_the_clock(clock):
    budget = Budget(4, 1.0)
    with budget.running():
        clock.seconds += 1000
        assert (budget.done, budget.stepped) == (0.0, False)
        step(budget, 3)
        assert (budget.done, budget.stepped) == (0.75, True)
        step(budget, 2)
    assert budget.done == 1.0
    assert budget.seconds == 1000


def test_a_budget_of_time_counts_the_time_while_it_runs(clock):
    budget = Budget(None, 10.0)
    with budget.running():
        clock.seconds += 4
        assert budget.done == pytest.approx(0.4)
    clock.seconds += 50  # a pause
    assert budget.seconds == 4
    with budget.running():
        clock.seconds += 3
        assert budget.seconds == 7
        step(budget)
        assert budget.done == pytest.approx(0.7)


def test_time_is_counted_when_a_run_is_closed_or_fails(clock):
    budget = Budget(None, 10.0)

    def run():
        with budget.running():
            clock.seconds += 2
            yield

    events = run()
    next(events)
    events.close()
    clock.seconds += 5
    assert budget.seconds == 2


@pytest.mark.parametrize("limit", [4, None])
def test_a_renewed_budget_is_whole_and_all_that_was_spent_is_counted_on(clock, limit):
    budget = Budget(limit, 4.0)
    with budget.running():
        for _ in range(3):
            clock.seconds += 1
            step(budget)
        assert budget.done == budget.total_share == pytest.approx(0.75)
        budget.renew()
        assert (budget.done, budget.stepped) == (0.0, False)
        assert (budget.steps, budget.seconds) == (3, 3)
        for _ in range(4):
            clock.seconds += 1
            step(budget)
        assert budget.done == 1
        assert budget.total_share == pytest.approx(1.75)


@pytest.mark.parametrize(("limit", "count"), [(60, 20), (20, 20), (7, 7), (100, 20)])
def test_a_run_of_some_steps_is_scored_twenty_times(limit, count):
    budget = Budget(limit, 1.0)
    schedule, due = ScoreSchedule(budget), 0
    for _ in range(limit):
        step(budget)
        due += schedule.is_due(set_up=False)
    assert due == count


def test_scores_are_two_seconds_apart_and_take_a_tenth_of_the_time_at_most(clock):
    budget = Budget(None, 1000.0)
    schedule = ScoreSchedule(budget)
    with budget.running():
        clock.seconds += 1.9
        assert not schedule.is_due(set_up=True)
        clock.seconds += 0.2
        assert schedule.is_due(set_up=True)
        began = budget.seconds
        clock.seconds += 1
        schedule.scored(began)
        clock.seconds += 9.9
        assert not schedule.is_due(set_up=True)
        clock.seconds += 0.2
        assert schedule.is_due(set_up=True)


def test_where_strokes_come_one_upon_the_other_setting_up_takes_a_fifth_of_the_time_at_most(clock):
    budget = Budget(None, 1000.0)
    schedule = ScoreSchedule(budget)
    with budget.running():
        clock.seconds += 4
        schedule.was_set_up(0.0)
        clock.seconds += 19
        assert schedule.is_due(set_up=True)  # what is known now is scored
        assert not schedule.is_due(set_up=False)
        clock.seconds += 2
        assert schedule.is_due(set_up=False)
