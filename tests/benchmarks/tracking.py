"""The cost of tracking to a sweep: 8 trials of 200 reports of 25 metrics, 20 ms of work each, two at once on Ray.

    python tests/benchmarks/tracking.py [--trials 8] [--reports 200] [--work 0.02] [--repeats 3] [--inline]

Each side runs with and without MLflow (SQLite, its tables made before), in turn, each run in a process of its own.
Seconds run from a started Ray to the last trial's end. The time to send the rest is shown apart. The ratio is that of
the shortest runs. Beside it stands the median of the ratios within each repeat, which says more on a busy machine. CPU
seconds are those of the driver, and of the process that ships, to its end. The peer is Ray Tune with
its `MLflowLoggerCallback`. With `--inline` our trials run in turn in the driver, without Ray or a peer.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SIDES = ("ours untracked", "ours tracked", "Ray untracked", "Ray tracked")


def ours(folder: Path, options: argparse.Namespace, store: str | None) -> dict[str, float]:
    """Seconds of a sweep of this platform, and of what is left to send then."""
    from platform.runners import inline, placement, tune
    from platform.runners.ledger import Ledger
    from platform.space.check import open_sweep
    from platform.storage.folder import open_folder
    from platform.study.study import Study
    from platform.tracking.destination import Destination
    from platform.tracking.messages import ParentEnd
    from platform.tracking.tracker import Tracker

    file = folder / "wide.yaml"
    file.write_text(
        f"""
name: wide
trainable: tests.trainables.wide
metric: {{name: valid/ndcg_10, goal: maximize}}
method: random
num_trials: {options.trials}
storage: {folder / "runs"}
parameters: {{x: {{min: 0.0, max: 1.0}}, steps: {options.reports}, work: {options.work}}}
"""
    )
    if not options.inline:
        import ray.tune  # noqa: F401

        tune.connect(None)
    spec, space = open_sweep(file)
    sweep = open_folder(spec)
    (sweep / "sweep.yaml").write_text(spec.text)
    study, tracker = Study(spec, space, sweep), None
    if store:
        tracker = Tracker(Destination(store, "wide", folder / "artifacts"), spec.name, sweep, {}, lambda text: None)
        tracker.start(study.id)
    ledger = Ledger(spec, study, sweep, sweep.parent / "stages", tracker)
    capacity = None if options.inline else placement.capacity(spec.resources, 2)
    started, cpu = time.monotonic(), time.process_time()
    if capacity is None:
        inline.run(ledger)
    else:
        tune.run(ledger, capacity)
    seconds = time.monotonic() - started
    if tracker:
        assert tracker.finish(ParentEnd(status="FINISHED"), 1200)
    left = time.monotonic() - started - seconds
    driver, shipper = time.process_time() - cpu, resource.getrusage(resource.RUSAGE_CHILDREN)
    tune.disconnect()
    return {"seconds": seconds, "left": left, "driver": driver, "shipper": shipper.ru_utime + shipper.ru_stime}


def stock(folder: Path, options: argparse.Namespace, store: str | None) -> dict[str, float]:
    """The same for Ray Tune with its own callback, or none."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    from tests.trainables.wide.run import line

    reports, work = options.reports, options.work

    def train(config: dict[str, Any]) -> None:
        for step in range(1, reports + 1):
            time.sleep(work)
            tune.report(line(config["x"], step))

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="valid/ndcg_10", mode="max", num_samples=options.trials, max_concurrent_trials=2, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "runs"),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=store, experiment_name="wide")] if store else [],
        ),
    )
    started, cpu = time.monotonic(), time.process_time()
    tuner.fit()
    seconds = time.monotonic() - started
    driver = time.process_time() - cpu
    ray.shutdown()
    return {"seconds": seconds, "left": 0.0, "driver": driver, "shipper": 0.0}


def points(store: str) -> int:
    """Metric values in the store."""
    import sqlite3

    with sqlite3.connect(store.removeprefix("sqlite:///")) as connection:
        return int(connection.execute("select count(*) from metrics where key like 'valid/%'").fetchone()[0])


def play(side: str, options: argparse.Namespace) -> dict[str, float]:
    """One run of one side in this process."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as name:
        store = f"sqlite:///{name}/mlflow.db" if side.endswith(" tracked") else None
        if store:
            MlflowClient(store).get_experiment("0")
        run = ours if side.startswith("ours") else stock
        found = run(Path(name), options, store)
        return {**found, "points": points(store) if store else 0}


def main() -> None:
    """Run all sides in turn and print their shortest times and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--reports", type=int, default=200)
    parser.add_argument("--work", type=float, default=0.02)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inline", action="store_true")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inline:
        options.sides = [side for side in options.sides if side.startswith("ours")]
    if options.side:
        sys.stdout.write("\n" + json.dumps(play(options.side, options)) + "\n")
        return
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
    for _ in range(options.repeats):
        for side in options.sides:
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"  {side}: {runs[side][-1]}", flush=True)
    show(runs)


def show(runs: dict[str, list[dict[str, float]]]) -> None:
    """Print each side's shortest run, and what tracking adds."""
    best = {side: min(found, key=lambda run: run["seconds"]) for side, found in runs.items()}
    for side, run in best.items():
        sent = f", then {run['left']:.2f} s to send; {run['points']:.0f} values in MLflow" if run["points"] else ""
        cpu = f"CPU: driver {run['driver']:.2f} s, shipper {run['shipper']:.2f} s"
        print(f"{side:15} {run['seconds']:.2f} s; {cpu}{sent}")
    for name in ("ours", "Ray"):
        bare, tracked = runs.get(f"{name} untracked"), runs.get(f"{name} tracked")
        if bare and tracked:
            ratio = min(run["seconds"] for run in tracked) / min(run["seconds"] for run in bare)
            ratios = [after["seconds"] / before["seconds"] for before, after in zip(bare, tracked, strict=True)]
            print(f"{name}: tracked / untracked {ratio:.3f} (median of the repeats' {statistics.median(ratios):.3f})")


if __name__ == "__main__":
    main()
