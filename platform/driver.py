"""One run of a sweep's driver: its trials, then its results, then the end of its tracking.

A signal is an exception that may come anywhere. Each of the three verbs therefore says itself where signals are
deferred. Whatever ends the run, no trial is left as if it ran, and no run in MLflow is left RUNNING.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console

from platform import provenance
from platform.analysis import compare, comparison, links, page, pairs, report, trials
from platform.analysis.notify import Notifier
from platform.analysis.progress import Progress
from platform.analysis.trials import Row
from platform.console import Interrupted, Signals, clean_screen
from platform.runners import INLINE, inline, placement, tune
from platform.runners.ledger import Ledger
from platform.runners.steering import Steering
from platform.space import points
from platform.space.check import notes
from platform.space.space import Space
from platform.storage.folder import bring_tables, open_folder, shared
from platform.storage.lease import Lease, hold
from platform.storage.trial_end import EndedTrial, State
from platform.study.study import Study
from platform.sweepfile.spec import SweepSpec
from platform.tracking import pages
from platform.tracking.destination import destination_of
from platform.tracking.messages import ParentEnd, RunStatus
from platform.tracking.tracker import Tracker
from trainables.redaction import redact, redact_values
from trainables.storage import mirror
from trainables.trial import TRACEBACK

_REPORT_S = 1.0
_SHORT_PATIENCE_S = 5.0
_MANY = 1000  # points of a grid that are counted


@dataclass(frozen=True)
class Outcome:
    """The end of one run's trials: MLflow's word for the parent run, why no more are started, the exit code so far."""

    status: RunStatus
    closing: str | None
    exit_code: int


@dataclass(frozen=True)
class Results:
    """The results of a sweep: its table, the comparison if it has one, and the files that hold both."""

    table: Sequence[Row]
    compared: comparison.Comparison | None
    files: tuple[Path, ...]
    winner: comparison.Cell | None = None
    """The best setting over its seeds, where the sweep has `seeds`."""


@dataclass(frozen=True)
class Drive:
    """One run, as its three verbs share it."""

    spec: SweepSpec
    folder: Path
    command: str
    """The same command again, which carries on."""
    lease: Lease
    signals: Signals
    console: Console
    progress: Progress
    tracker: Tracker
    notifier: Notifier


def drive(spec: SweepSpec, space: Space, address: str | None, command: str, signals: Signals) -> int:
    """Run what is left of a sweep; returns the exit code.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        address: `INLINE`, of a Ray cluster, or None for Ray on this machine.
        command: carries on, for the user to read.
        signals: open for this process.
    """
    folder = open_folder(spec)
    with hold(spec, folder) as lease, shared(folder), clean_screen(folder / "sweep.log") as console:
        progress = Progress(console, spec)
        tags = _tags(spec, space)
        tracker = Tracker(destination_of(spec, folder), spec.name, folder, tags, progress.notify)
        notifier = Notifier(spec, space, folder, progress.notify)
        run = Drive(spec, folder, command, lease, signals, console, progress, tracker, notifier)
        signals.announce = lambda: progress.notify("stopping; press Ctrl-C again to end now")
        signals.now = lambda: _end_now(run)
        try:
            for note in notes(spec, space):
                progress.notify(f"note: {redact(note)}")
            study = Study(spec, space, folder, progress.notify, lambda number: _run_page(run, number))
            (folder / "sweep.yaml").write_text(redact(spec.text))
            provenance.write(folder)
            (folder / page.PROVENANCE).write_text(json.dumps(redact_values(tags)))
            tracker.start(study.id)
            outcome = run_trials(run, study, address)
            results = write_results(run, study, outcome)
            finish(run, outcome, results)
        except BaseException as error:
            signals.defer()
            if lease.is_lost:  # another driver ships for this sweep now
                tracker.close()
            else:
                status: RunStatus = "KILLED" if isinstance(error, Interrupted) else "FAILED"
                tracker.finish(ParentEnd(status=status), _SHORT_PATIENCE_S)
            notifier.tell("end", f"ended by {type(error).__name__}: {error}")
            notifier.finish()
            raise
        _print(run, outcome, results)
        notifier.tell("end", outcome.closing or "all trials have ended")
        notifier.finish()
        usable = any(row.state is State.COMPLETE for row in results.table)
        return outcome.exit_code or (0 if usable else 1)


def run_trials(run: Drive, study: Study, address: str | None) -> Outcome:
    """Run the trials that are left; an interrupt is an outcome, and signals are raised at once again."""
    stages = run.folder.parent / "stages"
    refresh = page.Refresh(run.spec, run.folder)

    def ended(trial: EndedTrial) -> None:
        run.progress.ended(trial)
        if trial.end.state is State.FAIL:
            run.notifier.tell("failure", f"trial {trial.number} failed: {trial.end.reason}")
        refresh.if_due()

    ledger = Ledger(run.spec, study, run.folder, stages, run.tracker, ended, run.lease.check, run.progress.notify)
    steering = Steering(ledger, run.folder)
    unsaid = [True] if ledger.left else []

    def check() -> None:
        run.signals.check()
        steering.look()
        if unsaid and pages.read(run.folder, run.tracker.destination, study.id):  # once the store has answered
            unsaid.clear()
            for line in links.of_runs(run.tracker.destination, run.folder):
                run.progress.notify(line)
        if ledger.waits and not ledger.running:
            run.notifier.tell("waiting", "no trial is started: the sweep is paused, or the disk is full")

    run.progress.begin(ledger, study.ended(), points.due(run.spec, study.space, len(study.earlier())))
    if ledger.is_paused:
        run.progress.notify(f"paused: no trial is started until {_command('sweep', run.spec)} --unpause")
    if ledger.left:
        run.progress.notify(links.of_study(run.spec, run.folder))
    interrupt: Interrupted | None = None
    try:
        if ledger.left and address == INLINE:
            inline.run(ledger, check)
        elif ledger.left:
            run.signals.defer()
            run.progress.doing(tune.joining(address))
            tune.connect(address)
            run.progress.doing("")
            run.signals.install()
            capacity = placement.capacity(run.spec.resources, run.spec.max_concurrent_trials)
            tune.run(ledger, capacity, check, lambda: _end_without_head(run, ledger))
    except Interrupted as error:
        interrupt = error
    finally:
        run.signals.defer()
        if not run.lease.is_lost:
            ledger.interrupt()
        run.progress.finish()
        tune.disconnect()
    run.signals.resume()
    if interrupt:
        return Outcome("KILLED", f"{interrupt}; carry on with: {run.command}", interrupt.exit_code)
    closing = ledger.closing or (_exhausted(run.spec) if ledger.is_exhausted else left_of_grid(study))
    return Outcome("FINISHED", closing, 0)


def left_of_grid(study: Study) -> str | None:
    """The points of a grid for which `num_trials` is too small, as a sentence; None where there are none."""
    left = sum(1 for _ in islice(study.grid_left(), _MANY)) if study.spec.method == "grid" else 0
    count = f"{left} or more" if left == _MANY else left
    return f"{count} of the grid's points are left; raise num_trials" if left else None


def write_results(run: Drive, study: Study, outcome: Outcome) -> Results:
    """Write the table of trials, the page with its pictures and, after a whole run, the comparison of methods."""
    table = trials.rows(study, run.folder, run.progress.notify)
    files = [trials.write_csv(table, [metric.name for metric in run.spec.metrics], run.folder / "results.csv")]
    compared = tests = None
    if run.spec.compare and not outcome.exit_code:
        bring_tables(run.folder)
        compared = compare.compare([(run.spec, run.folder)])
        tests = pairs.paired(compared)
        files += [comparison.write(compared, run.folder), pairs.write(tests, run.folder)]
    files += page.try_write(run.spec, run.folder, compared, tests)
    files += provenance.written(run.folder)
    return Results(table, compared, tuple(files), compare.winner(run.spec, run.folder) if run.spec.seeds else None)


def finish(run: Drive, outcome: Outcome, results: Results) -> None:
    """Ship what is left and end the parent run."""
    run.signals.defer()
    found = pages.read(run.folder, run.tracker.destination)
    if not run.tracker.finish(parent_end(run.spec, outcome, results, found)):
        rest = f"the same command ships the rest: {run.command}"
        run.progress.notify(f"MLflow at {run.tracker.destination} has not taken everything; {rest}")


def parent_end(spec: SweepSpec, outcome: Outcome, results: Results, found: pages.Pages | None = None) -> ParentEnd:
    """The end of the parent run, with the best trial as metrics and tags; of several seeds the means."""
    best = next((row for row in results.table if row.state is State.COMPLETE), None)
    if best is None or best.objective is None:
        return ParentEnd(status=outcome.status, files=results.files)
    metrics = {f"best/{metric.name}": value for metric, value in zip(spec.metrics, best.objective, strict=True)}
    metrics |= {f"best/{name}": value for name, value in best.test.items()}
    if cell := results.winner:
        means = {spec.metrics[0].name: cell.objective, **cell.metrics}
        metrics = {f"best/{name}": means[name].mean for name in means if f"best/{name}" in metrics}
    return ParentEnd(
        status=outcome.status,
        metrics=metrics,
        tags={
            "best.trial": best.label,
            **{f"best.{name}": str(value) for name, value in best.swept.items()},
            pages.DESCRIPTION: pages.description(best.label, metrics, best.swept, found),
        },
        files=results.files,
    )


def _exhausted(spec: SweepSpec) -> str:
    return "the grid is used up" if spec.method == "grid" else "no setting is left that has not run"


def _end_now(run: Drive) -> None:
    run.console.show_cursor()
    run.progress.notify(f"ended now; carry on with: {run.command}")


def _end_without_head(run: Drive, ledger: Ledger) -> None:
    """End the run and the process from this thread, as Ray died and the main thread may be stuck in it."""
    why = f"Ray must answer while a sweep runs, but it is gone; start it again with: {run.command}"
    run.lease.abandon(why)
    time.sleep(_REPORT_S)  # a report that the main thread is taking comes first
    ledger.interrupt()
    run.progress.finish()
    run.progress.notify(why)
    run.tracker.finish(ParentEnd(status="FAILED"), _SHORT_PATIENCE_S)
    run.lease.release()
    os._exit(1)


def _print(run: Drive, outcome: Outcome, results: Results) -> None:
    runs = links.of_runs(run.tracker.destination, run.folder)
    further = [links.of_files(run.folder, results.files), *runs, links.of_study(run.spec, run.folder)]
    report.result(run.console, run.spec, results.table, outcome.closing, further)
    if results.compared:
        report.comparison(run.console, results.compared)
        run.progress.notify(f"paired tests of these cells: {_command('results', run.spec)}")
    if failed := sum(row.state is State.FAIL for row in results.table):
        again = f"{_command('sweep', run.spec)} --retry"
        run.progress.notify(f"tracebacks: {mirror.uri_of(run.folder)}/trials/<number>/artifacts/{TRACEBACK}")
        run.progress.notify(f"{failed} of {len(results.table)} trials failed; once the cause is mended: {again}")


def _command(name: str, spec: SweepSpec) -> str:
    overrides = [word for override in spec.overrides for word in ("--set", override)]
    return redact(shlex.join(["python", "-m", f"platform.{name}", str(spec.path), *overrides]))


def _tags(spec: SweepSpec, space: Space) -> dict[str, str]:
    overrides = {"sweep.set": " ".join(spec.overrides)} if spec.overrides else {}
    about = {
        pages.SWEPT: ", ".join(space.swept),
        pages.METRIC: ", ".join(metric.name for metric in spec.metrics),
        pages.GOAL: ", ".join(metric.goal for metric in spec.metrics),
    }
    return {**provenance.tags(), **overrides, **about}


def _run_page(run: Drive, number: int) -> str | None:
    """The address of a trial's run in MLflow; None while the store has not answered yet."""
    found = pages.read(run.folder, run.tracker.destination)
    return found.trial(number) if found else None
