"""Steering: each request is answered once, and what another program tells the study counts as a person's."""

import json

import optuna
import pytest

from platform.errors import SweepError
from platform.runners.steering import Steering
from platform.storage import requests
from platform.storage.requests import Answer, Request, Verb
from platform.storage.trial_end import State
from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import report, start, starts_nothing


@pytest.fixture
def asked():
    """Leave a request for a sweep and let its driver answer it; returns the answer."""

    def asked(here, verb: Verb, **words) -> Answer | None:
        request = Request(verb=verb, **words)
        requests.leave(here.folder, request)
        Steering(here.ledger, here.folder).answer()
        assert requests.pending(here.folder) == []
        return requests.answer_to(here.folder, request)

    return asked


def state_of(here, number: int) -> State | None:
    """The state that a trial's own files hold."""
    end = TrialFiles(here.folder, number).read_end()
    return end.state if end else None


def another(here) -> optuna.Study:
    """The study as another program opens it."""
    backend = optuna.storages.journal.JournalFileBackend(str(here.folder / "study.journal"))
    return optuna.load_study(study_name="curve", storage=optuna.storages.JournalStorage(backend))


def test_an_ended_trial_is_cancelled_for_all_and_is_no_failure(begin, asked):
    here = begin("limits.max_failed_trials=0")
    start(here.ledger)
    start(here.ledger)
    assert report(here.ledger, 0, 1, 0.5)
    assert asked(here, Verb.END, numbers=(0,)) == Answer("trial 0 is ended")
    assert asked(here, Verb.END, numbers=(0,)) == Answer("trial 0 is ended")  # a driver died before it answered
    assert not report(here.ledger, 0, 2, 0.6)
    assert here.ended[0][:3] == (0, "CANCELLED", "user")
    assert state_of(here, 0) is State.CANCELLED
    assert here.study.optuna.trials[0].state == optuna.trial.TrialState.FAIL
    assert asked(here, Verb.RETRY) == Answer("no trial has failed, none runs again")
    assert report(here.ledger, 1, 1, 0.5)
    assert here.ledger.closing is None


def test_of_several_trials_none_is_ended_where_one_cannot_be(begin, asked):
    here = begin()
    start(here.ledger)
    start(here.ledger)
    assert not asked(here, Verb.END, numbers=(0, 7)).done
    assert report(here.ledger, 0, 1, 0.5)
    assert asked(here, Verb.END, numbers=(0, 1)) == Answer("trials 0, 1 are ended")
    assert not here.ledger.running


def test_an_ended_trial_stays_ended_for_the_next_driver(begin, asked):
    here = begin()
    start(here.ledger)
    asked(here, Verb.END, numbers=(0,))
    again = begin()
    assert start(again.ledger).number == 1
    assert again.study.ended()[0].end.state is State.CANCELLED


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            {"verb": Verb.END, "numbers": (5,)},
            "--end: must name trials that run, but got 5 (it has not started); there are 0",
        ),
        ({"verb": Verb.RETRY, "numbers": (0,)}, "--retry: must name failed trials that are not retried yet, but got 0"),
        ({"verb": Verb.ENQUEUE, "setting": {"x": 2.0}}, "--enqueue: x: must be between 0.0 and 1.0"),
        ({"verb": Verb.ENQUEUE, "setting": {"x": 1.0, "width": 64}}, "--enqueue: must be feasible, but breaks"),
        ({"verb": Verb.ENQUEUE, "setting": {"y": 1.0}}, "--enqueue: y: must be one of the sweep's parameters"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_sweep_goes_on(begin, asked, words, told):
    here = begin()
    start(here.ledger)
    answer = asked(here, **words)
    assert told in answer.text
    assert not answer.done
    assert report(here.ledger, 0, 1, 0.5)


def test_a_file_that_is_no_request_is_answered_and_done_with(begin):
    here = begin()
    folder = here.folder / "requests"
    folder.mkdir()
    for name, text in (("1", "{"), ("2", '{"verb": "burn", "numbers": [], "setting": {}}'), ("3", '{"verb": "end"}')):
        (folder / f"{name}.json").write_text(text)
    Steering(here.ledger, here.folder).answer()
    assert requests.pending(here.folder) == []
    assert json.loads((here.folder / "answers" / "1.json").read_text())["done"] is False


def test_an_enqueued_setting_runs_next_and_once(begin, asked):
    here = begin()
    start(here.ledger)
    request = Request(verb=Verb.ENQUEUE, setting={"x": 0.25, "width": 16})
    for _ in range(2):  # the second time is that of a driver that follows one that died
        here.study.enqueue(request.setting, request.id)
    task = start(here.ledger)
    assert (task.values["x"], task.values["width"]) == (0.25, 16)
    assert start(here.ledger).values["x"] != 0.25
    whole = {name: task.values[name] for name in ("x", "width", "part.name")}
    whole |= {"part.bend": task.values["part.bend"]} if "part.bend" in task.values else {}
    assert "but trial 1 has it" in asked(here, Verb.ENQUEUE, setting=whole).text


def test_an_enqueued_setting_without_a_place_says_so(begin, asked):
    here = begin("num_trials=1")
    start(here.ledger)
    assert asked(here, Verb.ENQUEUE, setting={"x": 0.25}).text == (
        "trial 1 is enqueued; num_trials 1 leave it no place, raise them (--set num_trials=...)"
    )


def test_a_paused_sweep_starts_nothing_and_is_paused_for_the_next_driver_too(begin, asked):
    here = begin()
    start(here.ledger)
    assert asked(here, Verb.PAUSE) == Answer("no trial is started until --unpause")
    assert starts_nothing(here.ledger)
    assert here.ledger.waits
    assert report(here.ledger, 0, 1, 0.5)
    here.ledger.interrupt()
    again = begin()
    assert starts_nothing(again.ledger)
    assert asked(again, Verb.UNPAUSE) == Answer("trials are started")
    assert start(again.ledger).number == 0


def test_failed_trials_run_again_while_the_sweep_runs(begin, asked):
    here = begin("num_trials=2", "limits.max_failures_per_trial=0")
    for number in range(2):
        start(here.ledger)
        here.ledger.fail(number, "exception", "KeyError")
    assert starts_nothing(here.ledger)
    assert asked(here, Verb.RETRY, numbers=(1,)) == Answer("trials 1 run again")
    assert start(here.ledger).number == 2
    assert starts_nothing(here.ledger)


def test_a_retry_that_a_dead_driver_did_and_did_not_answer_is_not_done_twice(begin):
    here = begin("limits.max_failures_per_trial=0")
    start(here.ledger)
    here.ledger.fail(0, "exception", "KeyError")
    assert here.study.retry([0], "id") == [0]
    assert here.study.retry([0], "id") == [0]
    assert len([t for t in here.study.optuna.trials if "retries" in t.user_attrs]) == 1


def test_a_trial_that_another_program_fails_ends_alone(begin):
    here = begin()
    steering = Steering(here.ledger, here.folder)
    for _ in range(3):
        start(here.ledger)
    another(here).tell(0, state=optuna.trial.TrialState.FAIL)
    assert not report(here.ledger, 0, 1, 0.5)
    another(here).tell(1, state=optuna.trial.TrialState.FAIL)
    steering.look()  # though it is silent
    assert list(here.ledger.running) == [2]
    assert [each[:3] for each in here.ended] == [(n, "CANCELLED", "user, by another program") for n in (0, 1)]
    assert state_of(here, 1) is State.CANCELLED
    assert report(here.ledger, 2, 1, 0.5)


def test_another_program_is_quicker_than_the_last_report(begin):
    here = begin()
    start(here.ledger)
    report(here.ledger, 0, 1, 0.5)
    another(here).tell(0, state=optuna.trial.TrialState.FAIL)
    here.ledger.finish(0, {})
    assert here.ended[0][:3] == (0, "CANCELLED", "user, by another program")
    assert state_of(here, 0) is State.CANCELLED


def test_an_interrupted_trial_that_another_program_fails_has_ended_for_the_next_driver(begin):
    here = begin()
    start(here.ledger)
    here.ledger.interrupt()
    another(here).tell(0, state=optuna.trial.TrialState.FAIL)
    again = begin()
    assert start(again.ledger).number == 1
    assert state_of(here, 0) is State.CANCELLED


def test_points_that_another_program_enqueues_are_checked(begin, caplog):
    here = begin()
    start(here.ledger)
    for point in ({"x": 0.125}, {"x": 7.0}, {"nonsense": 1}):
        another(here).enqueue_trial(point)
    assert start(here.ledger).values["x"] == 0.125
    assert here.ledger.next_task(cpus=1.0, gpus=0.0).values["x"] != 7.0
    assert "an enqueued setting is left out: nonsense is no parameter" in caplog.text
    assert "an enqueued setting is left out: x must be between 0.0 and 1.0, but got 7.0" in caplog.text


def test_a_study_that_another_program_deletes_ends_the_sweep_with_one_sentence(begin):
    here = begin()
    start(here.ledger)
    optuna.delete_study(study_name="curve", storage=another(here)._storage)
    with pytest.raises(SweepError, match=r"study: must stay there .* --adopt rebuilds it"):
        report(here.ledger, 0, 1, 0.5)
