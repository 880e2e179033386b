"""Retries: the trials that are started again after their worker ended, and for how long."""

import pytest

from platform.runners.failures import LOSSES_IN_A_ROW, Attempts, Failed, Retry


def end(attempts: Attempts, reason: str, *, reports: int = 0, allowed: int = 2, divides: bool = False, text: str = "x"):
    return attempts.ended(reason, f"{reason}: {text}", reports=reports, allowed=allowed, divides=divides)


def test_lost_workers_do_not_count_while_the_trial_gets_further():
    attempts = Attempts()
    for reports in range(1, 31):
        assert end(attempts, "worker lost", reports=reports, allowed=0) == Retry()
    assert (attempts.attempt, attempts.failures) == (30, 0)


@pytest.mark.parametrize("reason", ["worker lost", "disk full"])
def test_a_trial_that_loses_each_worker_at_the_same_report_ends(reason):
    attempts = Attempts()
    ends = [end(attempts, reason, reports=2) for _ in range(LOSSES_IN_A_ROW)]
    assert ends == [Retry()] * (LOSSES_IN_A_ROW - 1) + [Failed(f"{reason}: x (5 times in a row)")]


def test_a_retired_worker_never_counts():
    attempts = Attempts()
    assert [end(attempts, "worker retired", allowed=0) for _ in range(20)] == [Retry()] * 20
    assert (attempts.failures, attempts.losses) == (0, 0)


def test_out_of_memory_is_tried_once_more_with_half_the_micro_batch_where_that_is_exact():
    attempts = Attempts()
    assert end(attempts, "out of memory", divides=True, allowed=0) == Retry()
    assert attempts.micro_batch_divisor == 2
    assert end(attempts, "out of memory", divides=True, reports=9) == Failed("out of memory: x")


def test_out_of_memory_elsewhere_is_tried_once_more_as_it_was_whatever_the_amounts_in_its_text():
    attempts = Attempts()
    assert end(attempts, "out of memory", text="2.01 GiB") == Retry()
    assert attempts.micro_batch_divisor == 1
    assert end(attempts, "out of memory", text="2.07 GiB") == Failed("out of memory: 2.07 GiB")
    assert end(Attempts(), "out of memory", allowed=0) == Failed("out of memory: x")


def test_an_exception_is_tried_again_unless_it_comes_back_at_the_same_report():
    attempts = Attempts()
    assert end(attempts, "exception", allowed=5, reports=1) == Retry()
    assert end(attempts, "exception", allowed=5, reports=2) == Retry()
    assert end(attempts, "exception", allowed=5, reports=2, text="another") == Retry()
    assert end(attempts, "exception", allowed=5, reports=2, text="another") == Failed("exception: another")


def test_an_exception_counts_against_what_is_allowed():
    attempts = Attempts()
    ends = [end(attempts, "exception", reports=n, allowed=2) for n in (1, 2, 3)]
    assert ends == [Retry(), Retry(), Failed("exception: x")]


def test_a_loss_that_is_not_finite_ends_the_trial():
    assert end(Attempts(), "non-finite objective") == Failed("non-finite objective: x")


def test_another_driver_goes_on_counting():
    attempts = Attempts()
    for _ in range(LOSSES_IN_A_ROW - 1):
        end(attempts, "worker lost")
    again = Attempts.read({**attempts.record, "of a later version": 1})
    assert again == attempts
    assert end(again, "worker lost") == Failed("worker lost: x (5 times in a row)")
    assert Attempts.read({}) == Attempts()
