"""Every runner brings a sweep to the same end: in this process, and on Ray."""

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from platform.errors import SweepError
from platform.runners import failures, inline, limits, placement, tune
from platform.runners.ledger import Decision, Ledger
from platform.space.check import space_of
from platform.storage.folder import open_folder
from platform.storage.trial_end import EndedTrial
from platform.study import storage
from platform.study.study import Study
from platform.sweepfile.spec import load
from platform.tracking.journal import TrialFiles

WRONG = ("thread", "nothing", "nan", "exception", "text", "once", "silent", "leave", "memory", "disk")
WORKER_DIES = ("exit_once", "exit")
SWEEP = """\
name: wrong
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 100
method: grid
parameters:
  wrong: {values: [nothing]}
"""

CURVE = Path("tests/trainables/curve/run.py")


def at(code: str, file: Path = CURVE) -> str:
    """The place of a line of a trainable, as a trial's end names it."""
    (number,) = (n for n, line in enumerate(file.read_text().splitlines(), 1) if code in line)
    return f"({file}:{number})"


Play = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module", params=["inline", pytest.param("tune", marks=pytest.mark.slow)])
def runner(request: pytest.FixtureRequest) -> str:
    """The runner of a test."""
    if request.param == "tune":
        request.getfixturevalue("ray")
    return request.param


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Run a sweep to its end; `calls` are the reports as they came, `ended` the trials' ends, `log` the ledger's.

    `at_report` is called with the step of each report before the ledger takes it.
    """

    def play(
        runner: str, *overrides: str, at_once: int = 2, at_report: Callable[[int], None] = lambda step: None
    ) -> SimpleNamespace:
        place = tmp_path_factory.mktemp(runner)
        (place / "sweep.yaml").write_text(SWEEP)
        spec = load(place / "sweep.yaml", [f"storage={place}", *overrides])
        folder = open_folder(spec)
        study = Study(spec, space_of(spec), folder)
        ended: list[EndedTrial] = []
        calls: list[tuple[int, int]] = []
        ledger = Ledger(spec, study, folder, folder.parent / "stages", None, ended.append)
        report = ledger.report

        def counted(number: int, step: int, metrics: Any, last: bool = False) -> Decision:
            calls.append((number, step))
            at_report(step)
            return report(number, step, metrics, last)

        ledger.report = counted
        log = logging.getLogger("platform.runners.ledger")
        said: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        log.addHandler(handler)
        try:
            if runner == "inline":
                inline.run(ledger)
            else:
                tune.run(ledger, placement.Capacity(cpu=1.0, gpu=0.0, memory=None, at_once=at_once))
        finally:
            log.removeHandler(handler)
        assert ledger.running == {}
        ends = {trial.number: trial.end for trial in ended}
        return SimpleNamespace(study=study, folder=folder, calls=calls, ended=ends, ledger=ledger, log=said)

    return play


class Outcome:
    """The end of one trial."""

    def __init__(self, here: SimpleNamespace, number: int) -> None:
        self.number = number
        self.state = here.study.trials()[number].state.name
        self.value = here.study.trials()[number].value
        self.reason = here.ended[number].reason
        self.folder: Path = here.folder / "trials" / str(number)
        self.values = TrialFiles(here.folder, number).read("trial.json")["values"]
        self.sent = [step for caller, step in here.calls if caller == number]
        read = [(line["step"], line["metrics"]) for line in TrialFiles(here.folder, number).lines()]
        self.own = [metrics for _, metrics in read if any(name.startswith("trial/") for name in metrics)]
        self.lines = [(step, metrics) for step, metrics in read if metrics not in self.own]
        self.steps = [step for step, _ in self.lines]


def outcomes(here: SimpleNamespace) -> dict[str, Outcome]:
    found = [Outcome(here, trial.number) for trial in here.study.trials()]
    return {outcome.values["wrong"]: outcome for outcome in found}


def _wrong(play: Play, runner: str, kinds: tuple[str, ...]) -> SimpleNamespace:
    here = play(runner, f"parameters.wrong={{values: [{', '.join(kinds)}]}}", "limits.max_failures_per_trial=2")
    return SimpleNamespace(**vars(here), by=outcomes(here))


@pytest.fixture(scope="module")
def wrong(runner: str, play: Play) -> SimpleNamespace:
    """A sweep in which each trial goes wrong in another way, by its kind in `by`."""
    return _wrong(play, runner, WRONG)


@pytest.fixture(scope="module")
def dying(ray: None, play: Play) -> Iterator[dict[str, Outcome]]:
    """Trials whose workers die, under Ray; each start of a worker takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures, "LOSSES_IN_A_ROW", 3)
        yield _wrong(play, "tune", WORKER_DIES).by


ALL_STEPS = [1, 2, 3, 4, 5, 6, 6]
"""The test value comes once more at the last step."""


def test_every_trial_of_a_sweep_comes_to_its_end(wrong):
    assert {kind: outcome.state for kind, outcome in wrong.by.items()} == {
        "thread": "COMPLETE",
        "nothing": "COMPLETE",
        "nan": "FAIL",
        "exception": "FAIL",
        "text": "FAIL",
        "once": "COMPLETE",
        "silent": "FAIL",
        "leave": "FAIL",
        "memory": "FAIL",
        "disk": "FAIL",
    }


def test_a_trial_that_runs_through_has_each_report_its_value_and_its_config(wrong):
    trial = wrong.by["nothing"]
    assert trial.reason == "finished"
    assert trial.steps == ALL_STEPS
    assert sum("test/ndcg_10" in metrics for _, metrics in trial.lines) == 1
    assert trial.value == max(metrics["valid/ndcg_10"] for _, metrics in trial.lines[:-1])
    assert (trial.folder / "artifacts" / "config.json").exists()


def test_an_objective_that_is_not_finite_fails_the_trial_at_once(wrong):
    trial = wrong.by["nan"]
    assert trial.reason == "non-finite objective: valid/ndcg_10 = nan at step 3"
    assert trial.steps == trial.sent == [1, 2, 3]


def test_an_exception_is_tried_again_once_and_leaves_its_traceback(wrong):
    trial = wrong.by["exception"]
    assert trial.reason == f"exception: RuntimeError: the curve broke {at('the curve broke')}"
    traceback = (trial.folder / "artifacts" / "traceback.txt").read_text()
    assert "in _go_wrong" in traceback
    assert traceback.endswith("RuntimeError: the curve broke\n")
    assert trial.sent[:2] == [1, 2]
    assert set(trial.sent[2:]) <= {2}  # the second attempt went on from its checkpoint, to the same exception
    told = [line for line in wrong.log if line.startswith(f"trial {trial.number} is") and "retired" not in line]
    assert told == [f"trial {trial.number} is started again: {trial.reason}"]


def test_an_exception_whose_text_is_no_utf_8_is_told_escaped(wrong):
    trial = wrong.by["text"]
    assert trial.reason == rf"exception: ValueError: cannot read caf\udce9\0.inter {at('cannot read')}"
    traceback = (trial.folder / "artifacts" / "traceback.txt").read_text()
    assert traceback.endswith("ValueError: cannot read caf\\udce9\\0.inter\n")


def test_a_trial_that_breaks_once_goes_on_from_its_checkpoint_without_a_step_twice(wrong):
    assert wrong.by["once"].sent == ALL_STEPS
    assert wrong.by["once"].steps == ALL_STEPS


CLASSES = {
    "exception": f"exception: RuntimeError: the curve broke {at('the curve broke')}",
    "memory": "out of memory: MemoryError: no room for a batch",
    "disk": "disk full: OSError: [Errno 28] No space left on device (5 times in a row)",
}


def test_an_error_has_the_same_class_in_this_process_and_from_a_ray_worker(wrong):
    assert {kind: wrong.by[kind].reason for kind in CLASSES} == CLASSES
    for kind in CLASSES:
        traceback = wrong.by[kind].folder / "artifacts" / "traceback.txt"
        assert traceback.read_text().startswith("Traceback (most recent call last)")


def test_a_trial_without_memory_goes_on_with_half_the_micro_batch_and_says_so(play):
    here = play("inline", "parameters.wrong=memory", "parameters.divisible=true")
    trial = Outcome(here, 0)
    assert (trial.state, trial.sent) == ("COMPLETE", ALL_STEPS)
    assert json.loads((trial.folder / "tags.json").read_text()) == {"trial.micro_batch_divisor": "2"}
    assert here.log == ["trial 0 is started again: out of memory: MemoryError: no room for a batch"]


def test_a_trainable_that_reports_nothing_fails_with_that_reason(wrong):
    assert wrong.by["silent"].reason == "it never reported valid/ndcg_10; it reported nothing"


def test_a_trainable_that_leaves_the_interpreter_fails_its_trial_only(wrong):
    assert wrong.by["leave"].reason == f"exception: SystemExit: 0 {at('raise SystemExit(0)')}"


def test_a_worker_in_which_a_trial_left_a_thread_is_not_used_again_and_no_trial_is_lost(wrong, runner):
    retired = [line for line in wrong.log if "worker retired" in line]
    assert len(retired) == (1 if runner == "tune" else 0)
    for line in retired:
        assert line.endswith("is started again: worker retired: the threads left behind still run")


def test_two_runners_journal_the_same_trials_alike_and_before_a_report_returns(ray, play):
    grid = ("parameters.witness=true", "parameters.x={values: [0.1, 0.7]}", "parameters.wrong={values: [nothing, nan]}")
    one, other = (play(runner, *grid) for runner in ("inline", "tune"))
    assert len(one.study.trials()) == len(other.study.trials()) == 4
    for number in range(4):
        first, second = Outcome(one, number), Outcome(other, number)
        assert first.values == second.values
        assert first.lines == second.lines
        assert (first.state, first.value, first.reason) == (second.state, second.value, second.reason)


def test_trials_are_pruned_by_what_they_reported(runner, play):
    stopping = "early_stopping={type: asha, min_reports: 2, reduction_factor: 3}"
    here = play(runner, stopping, "parameters.x={values: [0.7, 0.6, 0.1, 0.0]}", at_once=1)
    assert [trial.state.name for trial in here.study.trials()] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    for number in (1, 2, 3):
        pruned = Outcome(here, number)
        assert pruned.reason.startswith("early stopping (asha) at report 2, rung 0, cutoff 0.67")
        assert list(here.study.trials()[number].intermediate_values) == pruned.steps == [1, 2]


def test_a_trial_without_checkpoints_starts_over_and_its_steps_are_kept_once(play):
    here = play("inline", "parameters.wrong=once", "parameters.checkpoints=false")
    assert Outcome(here, 0).sent == [1, 2, *ALL_STEPS]
    assert Outcome(here, 0).steps == ALL_STEPS


def test_failed_trials_end_the_sweep_where_a_limit_says_so(runner, play):
    limits = ("limits.max_failed_trials=1", "limits.max_failures_per_trial=0")
    here = play(runner, *limits, "parameters.wrong=exception", "parameters.seed={min: 0, max: 30}")
    assert here.ledger.closing == "limits.max_failed_trials 1 is exceeded"
    assert 2 <= len(here.study.trials()) <= 4


def test_a_study_that_stays_away_ends_the_sweep_and_is_not_held_against_the_trial(runner, play, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE_S", 0.0)
    url = f"sqlite:///{tmp_path}/study.db?timeout=0.1"
    with closing(sqlite3.connect(tmp_path / "study.db")) as other:

        def at_report(step: int) -> None:
            if step == 3 and not other.in_transaction:
                other.execute("begin exclusive")

        with pytest.raises(SweepError, match="study: must answer while a sweep runs, but its database did not"):
            play(runner, f"storage={tmp_path}", f"study={url}", "num_trials=1", at_report=at_report)
    (trial,) = optuna.load_study(study_name="wrong", storage=url).trials
    assert (trial.state.name, set(trial.intermediate_values)) == ("RUNNING", {1, 2})
    files = TrialFiles(tmp_path / "wrong", 0)
    assert (files.read("attempts.json"), files.read("end.json"), len(files.lines())) == ({}, {}, 3)


@pytest.mark.slow
def test_a_grid_is_run_to_its_end_though_a_trial_comes_back_late(ray, play):
    here = play("tune", "parameters.wrong=once", "parameters.x={values: [0.1, 0.2]}")
    assert [trial.state.name for trial in here.study.trials()] == ["COMPLETE", "COMPLETE"]
    assert here.ledger.is_exhausted


def test_trials_under_ray_say_what_they_took(dying):
    ((own,),) = [dying["exit_once"].own]
    assert set(own) == {"trial/wall_seconds", "trial/memory_mib"}
    assert 0 < own["trial/wall_seconds"] < 60
    assert own["trial/memory_mib"] > 20


def test_a_worker_that_dies_is_replaced_and_the_trial_goes_on_from_its_checkpoint(dying):
    trial = dying["exit_once"]
    assert (trial.state, trial.reason) == ("COMPLETE", "finished")
    assert trial.sent == trial.steps == ALL_STEPS


def test_a_worker_that_dies_each_time_fails_the_trial_in_the_end(dying):
    trial = dying["exit"]
    assert trial.state == "FAIL"
    assert trial.reason.startswith("worker lost: ")
    assert trial.reason.endswith(" (3 times in a row)")
    assert trial.steps == [1, 2]


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_with_its_worker_and_the_sweep_goes_on(ray, play, monkeypatch):
    monkeypatch.setattr(limits, "GRACE_S", 1.0)
    kinds = "parameters.wrong={values: [hang, nothing]}"
    here = play("tune", kinds, "limits.max_minutes_per_trial=0.1", at_once=1)
    by = outcomes(here)
    assert by["hang"].state == "PRUNED"
    assert by["hang"].reason == "time limit (max_minutes_per_trial 0.1)"
    assert by["hang"].steps == [1, 2]
    assert by["nothing"].state == "COMPLETE"


def test_a_sweep_leaves_no_thread_in_this_process(play):
    before = set(threading.enumerate())
    play("inline")
    assert set(threading.enumerate()) <= before
