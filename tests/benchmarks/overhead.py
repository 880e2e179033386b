"""The cost of a trial beyond its own work: this platform against Ray Tune's stock glue, in one run.

    python tests/benchmarks/overhead.py [--trials 60] [--reports 5]

Both sides run the same trainable (it imports torch and reports) under TPE on two CPUs, tracked in MLflow on SQLite:
ours as `platform.sweep` does, the peer as `tune.Tuner` + `OptunaSearch` + `MLflowLoggerCallback` with their defaults.
Seconds run from a started Ray to the last trial's run in MLflow.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AT_ONCE = 2


def ours(folder: Path, trials: int, reports: int) -> dict[str, float]:
    """Seconds of a sweep of this platform, tracking included."""
    import mlflow  # noqa: F401  (imports count on neither side)
    import ray.tune  # noqa: F401

    from platform.runners import placement, tune
    from platform.runners.ledger import Ledger
    from platform.space.check import open_sweep
    from platform.storage.folder import open_folder
    from platform.study.study import Study
    from platform.tracking.destination import Destination
    from platform.tracking.messages import ParentEnd
    from platform.tracking.tracker import Tracker

    file = folder / "overhead.yaml"
    file.write_text(
        f"""
name: overhead
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: {trials}
max_concurrent_trials: {AT_ONCE}
storage: {folder / "runs"}
parameters:
  x: {{min: 0.0, max: 1.0}}
  width: {{min: 16, max: 48}}
  steps: {reports}
  load_torch: true
  checkpoints: false
"""
    )
    spec, space = open_sweep(file)
    sweep = open_folder(spec)
    (sweep / "sweep.yaml").write_text(file.read_text())
    tune.connect(None)
    started = time.monotonic()
    destination = Destination(f"sqlite:///{folder / 'mlflow.db'}", "overhead", folder / "artifacts")
    study = Study(spec, space, sweep)
    tracker = Tracker(destination, spec.name, sweep, {}, lambda sentence: None)
    tracker.start(study.id)
    ledger = Ledger(spec, study, sweep, folder / "stages", tracker)
    tune.run(ledger, placement.capacity(spec.resources, spec.max_concurrent_trials))
    ran = time.monotonic() - started
    assert tracker.finish(ParentEnd(status="FINISHED"), patience_s=120)
    tracked = time.monotonic() - started
    tune.disconnect()
    return {"trials": ran, "with tracking": tracked}


def stock(folder: Path, trials: int, reports: int) -> dict[str, float]:
    """Seconds of the same trials under Ray Tune's own parts and their defaults."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    def train(config: dict[str, Any]) -> None:
        import torch  # noqa: F401

        for step in range(1, reports + 1):
            value = (1 - (config["x"] - 0.7) ** 2) * step / (step + 1)
            tune.report({"valid/ndcg_10": value, "valid/hr_10": 1 - value / 2, "train/loss": 1 / step})

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    started = time.monotonic()
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1), "width": tune.randint(16, 49)},
        tune_config=tune.TuneConfig(
            metric="valid/ndcg_10",
            mode="max",
            num_samples=trials,
            search_alg=OptunaSearch(),
            max_concurrent_trials=AT_ONCE,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "runs"),
            verbose=0,
            callbacks=[
                MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="overhead")
            ],
        ),
    )
    tuner.fit()
    seconds = time.monotonic() - started
    ray.shutdown()
    return {"trials": seconds, "with tracking": seconds}


def main() -> None:
    """Run both sides, each in a process of its own, and print seconds a trial and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--reports", type=int, default=5)
    parser.add_argument("--side", choices=["ours", "stock"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        with tempfile.TemporaryDirectory() as name:
            measure = ours if options.side == "ours" else stock
            sys.stdout.write("\n" + json.dumps(measure(Path(name), options.trials, options.reports)) + "\n")
        return
    seconds = {}
    for side in ("ours", "stock"):
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        seconds[side] = json.loads(done.stdout.splitlines()[-1])
    for what in ("trials", "with tracking"):
        own, peer = (seconds[side][what] / options.trials for side in ("ours", "stock"))
        print(f"{what:14} ours {own:.3f} s a trial, stock {peer:.3f} s a trial, ratio {peer / own:.1f}")


if __name__ == "__main__":
    main()
