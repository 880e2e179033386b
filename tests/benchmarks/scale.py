"""The growth of a trial's cost with the number of trials: many short ones on many raylets, or in one process.

    python tests/benchmarks/scale.py [--trials 2000] [--nodes 8] [--gpus 64]
    python tests/benchmarks/scale.py --inline [--trials 20000]
    python tests/benchmarks/scale.py --ask

Trials of three reports by TPE, tracked in MLflow on SQLite. The nodes are real raylets of this machine; their GPUs are
a custom resource that each trial takes one of, so that as many trials run at once. The trainable only reports. Hence
the benchmark measures the driver (and, on few cores, the workers beside it). It prints:

* trials per second over the hundred trials before the 200th, half of all and the last, and ratios of them;
* growth of the driver's memory per thousand trials, and Optuna's share of the driver's time;
* CPU time of the process that ships to MLflow over that of the driver, and its time after the last trial's end.

`--ask` times one proposal alone, with 200, 2,000 and 20,000 finished trials in a study in memory.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
EARLY, WINDOW = 200, 100

SWEEP = """
name: scale
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: {trials}
storage: {storage}
resources: {{cpu: 0.01, gpu: 0{custom}}}
parameters:
  x: {{min: 0.0, max: 1.0}}
  width: {{min: 16, max: 48}}
  part.name: curved
  part.bend: {{min: 1, max: 5}}
  steps: 3
  checkpoints: false
"""


class Watch:
    """Times of trial ends, the driver's memory at each, and the seconds spent inside Optuna."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.ends: list[float] = []
        self.memory_mib: list[float] = []
        self.optuna_s = 0.0

    def ended(self, _: Any) -> None:
        self.ends.append(time.monotonic())
        self.memory_mib.append(self.process.memory_info().rss / 2**20)

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.monotonic()
            try:
                return call(*arguments)
            finally:
                self.optuna_s += time.monotonic() - began

        return timed

    def rate(self, count: int) -> float:
        """Trials a second over the window that ends with trial `count`."""
        start = max(0, count - WINDOW)
        return (count - 1 - start) / (self.ends[count - 1] - self.ends[start])

    def shipping_s(self) -> float:
        """CPU seconds of the process that ships."""
        shippers = [each for each in self.process.children() if "platform.tracking.shipper" in each.cmdline()]
        return sum(sum(each.cpu_times()[:2]) for each in shippers)


def measure(folder: Path, trials: int, nodes: int, gpus: int) -> None:
    """Run the sweep and print what it cost; `nodes` 0 runs it in this process."""
    from platform.runners import inline, placement, tune
    from platform.runners.ledger import Ledger
    from platform.space.check import open_sweep
    from platform.storage.folder import open_folder
    from platform.study.study import Study
    from platform.tracking.destination import Destination
    from platform.tracking.messages import ParentEnd
    from platform.tracking.tracker import Tracker

    file = folder / "scale.yaml"
    custom = ", custom: {fake_gpu: 1}" if nodes else ""
    file.write_text(SWEEP.format(trials=trials, storage=folder / "runs", custom=custom))
    spec, space = open_sweep(file)
    sweep = open_folder(spec)
    (sweep / "sweep.yaml").write_text(file.read_text())
    watch = Watch()
    study = Study(spec, space, sweep)
    for name in ("ask", "judge", "tell"):
        setattr(study, name, watch.timed(getattr(study, name)))
    tracker = Tracker(Destination(f"sqlite:///{folder / 'mlflow.db'}", "scale", folder / "artifacts"), spec.name, sweep,
                      {}, lambda sentence: None)  # fmt: skip
    tracker.start(study.id)
    ledger = Ledger(spec, study, sweep, folder / "stages", tracker, watch.ended)
    began, cpu = time.monotonic(), sum(watch.process.cpu_times()[:2])
    if nodes:
        tune.run(ledger, placement.capacity(spec.resources, None))
    else:
        inline.run(ledger)
    wall, cpu = time.monotonic() - began, sum(watch.process.cpu_times()[:2]) - cpu
    shipping = watch.shipping_s()
    told(watch, f"{gpus} fake GPUs on {nodes} raylets" if nodes else "inline", wall, cpu, shipping)
    began = time.monotonic()
    assert tracker.finish(ParentEnd(status="FINISHED"), patience_s=7200)
    shown("everything in MLflow, seconds after the last trial", f"{time.monotonic() - began:.0f}")


def asks(folder: Path) -> None:
    """Print what one proposal of the sweep's sampler takes, by how many trials are finished."""
    import optuna

    from platform.space.check import open_sweep
    from platform.study.search import sampler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = folder / "scale.yaml"
    file.write_text(SWEEP.format(trials=1, storage=folder, custom=""))
    spec, space = open_sweep(file)
    scouts = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    past = []
    for _ in range(20_000):
        trial = scouts.ask()
        values = space.suggest(trial)
        past.append(optuna.trial.create_trial(
            params=trial.params, distributions=trial.distributions, value=(values["x"] - 0.7) ** 2
        ))  # fmt: skip
        scouts.tell(trial, state=optuna.trial.TrialState.FAIL)
    for count in (200, 2_000, 20_000):
        study = optuna.create_study(sampler=sampler(spec, space, 0, count))
        study.add_trials(past[:count])
        seconds = []
        for _ in range(5):
            began = time.process_time()
            space.suggest(study.ask())
            seconds.append(time.process_time() - began)
        sys.stdout.write(f"  one proposal after {count:>6} trials: {1000 * sorted(seconds)[2]:8.1f} ms of CPU time\n")


def told(watch: Watch, where: str, wall: float, cpu: float, shipping: float) -> None:
    done = len(watch.ends)
    early, half, late = watch.rate(min(EARLY, done)), watch.rate(done // 2), watch.rate(done)
    early_mib, late_mib = watch.memory_mib[min(EARLY, done) - 1], watch.memory_mib[-1]
    rows = {
        "trials ended, in seconds": f"{done} in {wall:.0f}",
        f"trials a second, the {WINDOW} before trial {min(EARLY, done)}": f"{early:.2f}",
        f"the {WINDOW} before trial {done // 2}": f"{half:.2f}",
        f"the {WINDOW} before trial {done}": f"{late:.2f}",
        "last / first, last / half": f"{late / early:.2f}, {late / half:.2f}",
        "driver memory, MiB": f"{late_mib:.0f}",
        "grows by, MiB in 1,000 trials": f"{1000 * (late_mib - early_mib) / max(1, done - EARLY):.0f}",
        "in Optuna, of the wall time": f"{100 * watch.optuna_s / wall:.0f} %",
        "CPU time of the process that ships, over the driver's": f"{100 * shipping / cpu:.0f} %",
    }
    sys.stdout.write(f"{where}, {os.cpu_count()} cores\n")
    for name, value in rows.items():
        shown(name, value)


def shown(name: str, value: str) -> None:
    sys.stdout.write(f"  {name:58} {value}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--inline", action="store_true", help="in this process, without Ray")
    parser.add_argument("--ask", action="store_true", help="time proposals alone")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = str(ROOT)  # for the raylets' workers
    trials = options.trials or (20_000 if options.inline else 2_000)
    with tempfile.TemporaryDirectory() as folder:
        if options.ask:
            asks(Path(folder))
            return
        if options.inline:
            measure(Path(folder), trials, 0, 0)
            return
        from platform.runners import tune

        os.environ.update(tune.ENVIRONMENT)
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            for _ in range(options.nodes):
                share = options.gpus / options.nodes
                cluster.add_node(num_cpus=1, resources={"fake_gpu": share}, object_store_memory=80 * 2**20)
            tune.connect(cluster.address)
            measure(Path(folder), trials, options.nodes, options.gpus)
        finally:
            tune.disconnect()
            cluster.shutdown()


if __name__ == "__main__":
    main()
