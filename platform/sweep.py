"""``python -m platform.sweep FILE``: run a sweep, or carry it on where it stopped."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platform.errors import InvalidSweep, SweepError
from platform.space.check import open_sweep
from platform.storage.folder import try_bucket
from platform.storage.trial_end import State
from trainables.disk import is_away, is_full
from trainables.redaction import redact
from trainables.storage.mirror import is_bucket, uri_of
from trainables.storage.objects import StoreError

if TYPE_CHECKING:
    from platform.analysis.compare import Comparison
    from platform.analysis.trials import Row
    from platform.console import Signals
    from platform.space.space import Space
    from platform.study.study import Study
    from platform.sweepfile.spec import SweepSpec
    from platform.tracking.destination import Destination

INLINE = "inline"
_TURN_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 done, 1 ended without a usable result, 2 invalid, 3 busy, or 128 + signal."""
    parser = argparse.ArgumentParser(prog="python -m platform.sweep", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="the sweep, see sweeps/")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="replace a key of the file"
    )
    parser.add_argument(
        "--address",
        help="a Ray cluster (auto, host:port), or inline: this process, without Ray; default: Ray on this machine",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="check the file and the machine, start nothing")
    what.add_argument("--plan", action="store_true", help="say what would run, how many at once and on what")
    what.add_argument("--keys", action="store_true", help="print every key that a sweep file can have")
    options = parser.parse_args(arguments)
    if options.keys:
        return _keys()
    if options.file is None:
        parser.error("name a sweep file, such as sweeps/spectran_taylor.yaml")
    try:
        spec, space = open_sweep(options.file, options.overrides)
        _refuse_untracked(spec)
        if options.address == INLINE or not (options.address or options.check):
            _refuse_several_nodes(spec, options.address)
        if options.check:
            try_bucket(spec)
            sys.stdout.write(
                f"{options.file}: a sweep of {spec.num_trials} trials of {spec.trainable}, nothing to object to\n"
            )
            return 0
        command = shlex.join(["python", "-m", "platform.sweep", *(sys.argv[1:] if arguments is None else arguments)])
        if options.plan:
            return _plan(spec, space, options.address)
        return _run(spec, space, options.address, redact(os.environ.get("SWEEP_COMMAND", command)))
    except SweepError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return error.exit_code
    except StoreError as error:
        sys.stderr.write(f"storage: {redact(str(error))}; the same command carries on\n")
        return SweepError.exit_code
    except OSError as error:
        if is_full(error):
            told = f"the disk must have room, but got {error}; the same command carries on then"
        elif is_away(error):
            told = f"storage: must answer while a sweep runs, but got {error}; the same command carries on then"
        else:
            raise
        sys.stderr.write(f"{redact(told)}\n")
        return SweepError.exit_code


def _keys() -> int:
    from platform.console import console_on
    from platform.sweepfile.keys import table

    console_on(sys.stdout).print(table())
    return 0


def _refuse_untracked(spec: SweepSpec) -> None:
    """A bucket holds no MLflow store, as a folder does."""
    if is_bucket(spec.storage) and not (spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        rule = f"must be named where storage is {spec.storage}, but is not"
        remedy = "write http://host:port of an MLflow server (infra/mlflow), or set $MLFLOW_TRACKING_URI"
        raise InvalidSweep([spec.problem("tracking.uri", f"{rule}; {remedy}")])


def _refuse_several_nodes(spec: SweepSpec, address: str | None) -> None:
    if spec.resources.nodes > 1:
        where = "this process" if address == INLINE else "Ray on this machine"
        rule = f"must be 1 where a sweep runs on one node, which is {where}, but got {spec.resources.nodes}"
        raise InvalidSweep([spec.problem("resources.nodes", f"{rule}; leave it out, or name a cluster by --address")])


def _run(spec: SweepSpec, space: Space, address: str | None, command: str) -> int:
    from platform.console import Interrupted, Signals

    try:
        with Signals() as signals:
            return _drive(spec, space, address, command, signals)
    except Interrupted as end:
        sys.stdout.write(f"{end}; carry on with: {command}\n")
        return end.exit_code


def _drive(spec: SweepSpec, space: Space, address: str | None, command: str, signals: Signals) -> int:
    from platform.analysis import report, trials
    from platform.console import Interrupted, clean_screen
    from platform.runners import inline, placement, tune
    from platform.runners.ledger import Ledger
    from platform.storage.folder import bring_tables, open_folder, shared
    from platform.storage.lease import hold
    from platform.study.study import Study
    from platform.tracking.tracker import Tracker

    folder = open_folder(spec)
    with hold(spec, folder) as lease, shared(folder), clean_screen(folder / "sweep.log") as console:
        progress = report.Progress(console, spec)
        tracker = Tracker(_destination(spec, folder), spec.name, folder, _tags(spec), progress.notify)
        status, closing, code = "FINISHED", None, 0

        def on_head_lost() -> None:
            """Ray died, and the main thread may be stuck in it: what an end does is done here."""
            why = f"Ray must answer while a sweep runs, but it is gone; start it again with: {command}"
            lease.abandon(why)
            time.sleep(_TURN_S)  # a report that the main thread is taking comes first
            ledger.interrupt()
            progress.finish()
            progress.notify(why)
            tracker.finish({"status": "FAILED"}, patience_s=5)
            lease.release()
            os._exit(1)

        try:
            study = Study(spec, space, folder, progress.notify)
            (folder / "sweep.yaml").write_text(spec.text)
            tracker.start(study.id)
            ledger = Ledger(
                spec, study, folder, folder.parent / "stages", tracker, progress.ended, lease.check, progress.notify
            )
            progress.begin(ledger, trials.ended(study))
            try:
                if ledger.left and address == INLINE:
                    inline.run(ledger, signals.check)
                elif ledger.left:
                    signals.defer()
                    tune.connect(address)
                    signals.install()
                    capacity = placement.capacity(spec.resources, spec.max_concurrent_trials)
                    tune.run(ledger, capacity, signals.check, on_head_lost)
            except Interrupted as end:
                status, code = "KILLED", end.exit_code
                closing = f"{end}; carry on with: {command}"
            finally:
                signals.defer()
                if not lease.is_lost:
                    ledger.interrupt()  # whatever ended the sweep, no trial is left as if it ran
                progress.finish()
                tune.disconnect()
            signals.resume()
            closing = closing or ledger.closing or ("the grid is used up" if ledger.is_exhausted else None)
            table = trials.rows(study, folder)
            files = _write(spec, study, table, folder)
            compared = None
            if spec.compare and not code:
                bring_tables(folder)
                compared, more = _compare(spec, folder)
                files += more
            signals.defer()
            if not tracker.finish({"status": status, "files": files, **_summary(spec, table)}):
                rest = f"the same command ships the rest: {command}"
                progress.notify(f"MLflow at {tracker.destination} has not taken everything; {rest}")
        except BaseException as error:
            signals.defer()
            if lease.is_lost:
                tracker.close()
            else:
                ended = "KILLED" if isinstance(error, Interrupted) else "FAILED"
                tracker.finish({"status": ended}, patience_s=5)
            raise
        report.result(console, spec, table, closing, _look_further(tracker.destination))
        if compared:
            report.comparison(console, compared)
            progress.notify(f"paired tests of these cells: {_results_command(spec)}")
        usable = any(row.state is State.COMPLETE for row in table)
        return code or (0 if usable else 1)


def _plan(spec: SweepSpec, space: Space, address: str | None) -> int:
    from platform.analysis import report
    from platform.console import clean_screen
    from platform.runners import placement, tune
    from platform.storage.folder import open_folder

    folder = open_folder(spec)
    with clean_screen(folder / "sweep.log") as console:
        where = "this process" if address == INLINE else address or "Ray on this machine"
        lines = [
            ("sweep", f"{spec.name}: {spec.num_trials} trials of {spec.trainable} by {spec.method}"),
            ("early stopping", spec.early_stopping.type),
            ("searches", ", ".join(space.swept) or "nothing: one setting"),
        ]
        if address != INLINE:
            try:
                tune.connect(address)
                most = min(spec.max_concurrent_trials or spec.num_trials, spec.num_trials)
                capacity = placement.capacity(spec.resources, most)
                packing = placement.packing(capacity)
            finally:
                tune.disconnect()
            lines.append(("a trial takes", capacity.takes))
            lines.append(("at once", str(capacity.at_once)))
            lines += [("nodes" if line == packing[0] else "", line) for line in packing]
        destination = _destination(spec, folder)
        lines += [("on", where), ("storage", uri_of(folder)), ("tracking", str(destination))]
        report.plan(console, lines)
    return 0


def _tags(spec: SweepSpec) -> dict[str, str]:
    from platform.provenance import tags

    return {**tags(), **({"sweep.set": " ".join(spec.overrides)} if spec.overrides else {})}


def _destination(spec: SweepSpec, folder: Path) -> Destination:
    from platform.tracking.destination import Destination

    storage = folder.parent
    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"
    return Destination(
        uri, spec.tracking.experiment or spec.trainable, storage / "artifacts", spec.tracking.checkpoints
    )


def _write(spec: SweepSpec, study: Study, table: Sequence[Row], folder: Path) -> list[Path]:
    """Write the results table and Optuna's plots into the sweep's folder."""
    from platform.analysis import trials
    from platform.pictures import plots

    files = [trials.write_csv(table, [metric.name for metric in spec.metrics], folder / "results.csv")]
    if len(spec.metrics) == 1:
        files += plots.overview(study.optuna, spec.metrics[0].name, folder)
    return files


def _compare(spec: SweepSpec, folder: Path) -> tuple[Comparison, list[Path]]:
    """The sweep as a paper's table, and the files that hold it and the paired tests."""
    from platform.analysis import compare, pairs

    compared = compare.compare([(spec, folder)])
    return compared, [compare.write(compared, folder), pairs.write(pairs.paired(compared), folder)]


def _results_command(spec: SweepSpec) -> str:
    overrides = [word for override in spec.overrides for word in ("--set", override)]
    return redact(shlex.join(["python", "-m", "platform.results", str(spec.path), *overrides]))


def _summary(spec: SweepSpec, table: Sequence[Row]) -> dict[str, dict[str, object]]:
    """What the parent run says of the best trial."""
    best = next((row for row in table if row.state is State.COMPLETE), None)
    if best is None or best.objective is None:
        return {"metrics": {}, "tags": {}}
    metrics = {f"best/{metric.name}": value for metric, value in zip(spec.metrics, best.objective, strict=True)}
    metrics.update({f"best/{name}": value for name, value in best.test.items()})
    tags = {"best.trial": str(best.number), **{f"best.{name}": str(value) for name, value in best.swept.items()}}
    return {"metrics": dict(metrics), "tags": dict(tags)}


def _look_further(destination: Destination) -> str:
    path = str(destination)
    if path.startswith("http"):
        return path
    local = Path(path.removeprefix("sqlite:///"))
    if path.startswith("sqlite:///") and local.is_relative_to(Path.cwd()):
        path = f"sqlite:///{local.relative_to(Path.cwd())}"
    return f"mlflow ui --backend-store-uri {path}"


if __name__ == "__main__":
    sys.exit(main())
