"""Best value after a fixed number of epochs: the sweep's ledger against Ray's OptunaSearch + ASHAScheduler.

    python -m tests.benchmarks.fidelity

200 learning curves are recorded first: a small network, trained by SGD on data with noisy labels, for each of
10 x 5 x 4 settings (learning rate, weight decay, momentum), 27 epochs each, all seeded. Both searches then replay them:
four workers, one epoch a turn, until the budget is used up; the same grid of settings, TPE, and successive halving with
a first rung after one epoch and a third going on. Three things differ: how stopped trials are told, how each picks the
third, and the TPE: ours draws all parameters together (`multivariate`), `OptunaSearch` each by itself, as is Optuna's
default; both have Optuna's other settings. Paired over seeds; nothing is trained twice.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

EPOCHS, WORKERS, ETA = 27, 4, 3
SIZES = {"rate": 10, "decay": 5, "momentum": 4}
SWEEP = """\
name: fidelity
trainable: tests.trainables.curve
metric: {name: valid/hr_10, goal: maximize}
num_trials: 100000
early_stopping: {type: asha, min_reports: 1, reduction_factor: 3}
parameters:
  rate: {min: 0, max: 9}
  decay: {min: 0, max: 4}
  momentum: {min: 0, max: 3}
"""
NAME = "valid/hr_10"


def record() -> np.ndarray:
    """Validation accuracy after each epoch, for each setting: rate x decay x momentum x epoch."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(1600, 20)).astype(np.float32)
    teacher = np.tanh(inputs @ random.normal(size=(20, 8))) @ random.normal(size=(8, 5))
    targets = (teacher + random.normal(scale=1.5, size=teacher.shape)).argmax(1)
    curves = np.empty((*SIZES.values(), EPOCHS))
    for place in np.ndindex(*SIZES.values()):
        rate = float(np.geomspace(1e-3, 3, SIZES["rate"])[place[0]])
        decay = (0, 1e-4, 1e-3, 1e-2, 1e-1)[place[1]]
        curves[place] = _train(inputs, targets, rate, decay, (0, 0.5, 0.9, 0.97)[place[2]])
    return curves


def _train(inputs: np.ndarray, targets: np.ndarray, rate: float, decay: float, momentum: float) -> list[float]:
    random = np.random.default_rng(1)
    weights = [random.normal(size=(20, 32)) / 5, random.normal(size=(32, 5)) / 6]
    speeds = [np.zeros_like(each) for each in weights]
    curve = []
    for _ in range(EPOCHS):
        for rows in random.permutation(800).reshape(-1, 50):
            hidden = np.tanh(inputs[rows] @ weights[0])
            scores = hidden @ weights[1]
            error = np.exp(scores - scores.max(1, keepdims=True))
            error = error / error.sum(1, keepdims=True) - np.eye(5)[targets[rows]]
            inner = error @ weights[1].T * (1 - hidden**2)
            for index, gradient in enumerate((inputs[rows].T @ inner, hidden.T @ error)):
                speeds[index] = momentum * speeds[index] - rate * (gradient / len(rows) + decay * weights[index])
                weights[index] = np.clip(weights[index] + speeds[index], -50, 50)
        guesses = (np.tanh(inputs[800:] @ weights[0]) @ weights[1]).argmax(1)
        curve.append(float((guesses == targets[800:]).mean()))
    return curve


def ours(curves: np.ndarray, seed: int, budget: int, folder: Path) -> tuple[float, int]:
    """The best value that the sweep's own search reports within `budget` epochs, and the trials it started."""
    from platform.runners.ledger import Decision, Ledger
    from platform.space.space import Space
    from platform.study.study import Study
    from platform.sweepfile.spec import load

    folder.mkdir()
    (folder / "fidelity.yaml").write_text(SWEEP)
    spec = load(folder / "fidelity.yaml", [f"seed={seed}", f"storage={folder}"])
    ledger = Ledger(spec, Study(spec, Space.of(spec), folder), folder, folder / "stages")

    def start() -> tuple[int, np.ndarray]:
        task = ledger.next_task(cpus=1.0, gpus=0.0)
        assert task is not None
        return task.number, curves[tuple(task.values[name] for name in SIZES)]

    def report(number: int, epoch: int, value: float) -> bool:
        go_on = ledger.report(number, epoch, {NAME: value}) is Decision.CONTINUE
        if go_on and epoch == EPOCHS:
            ledger.finish(number, {})
        return go_on and epoch < EPOCHS

    return _play(start, report, budget)


def rays(curves: np.ndarray, seed: int, budget: int) -> tuple[float, int]:
    """The same by Ray's OptunaSearch and ASHAScheduler, called as Tune calls them."""
    import optuna
    from ray.tune.experiment import Trial
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {name: optuna.distributions.IntDistribution(0, size - 1) for name, size in SIZES.items()}
    searcher = OptunaSearch(space, metric=NAME, mode="max", seed=seed)
    scheduler = ASHAScheduler(metric=NAME, mode="max", grace_period=1, max_t=EPOCHS, reduction_factor=ETA)

    def start() -> tuple[Trial, np.ndarray]:
        trial = Trial("fidelity", stub=True)
        values = searcher.suggest(trial.trial_id)
        scheduler.on_trial_add(None, trial)
        return trial, curves[tuple(values[name] for name in SIZES)]

    def report(trial: Trial, epoch: int, value: float) -> bool:
        result = {"training_iteration": epoch, NAME: value, "done": epoch == EPOCHS}
        if epoch < EPOCHS and scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE:
            searcher.on_trial_result(trial.trial_id, result)
            return True
        scheduler.on_trial_complete(None, trial, result)
        searcher.on_trial_complete(trial.trial_id, result=result)
        return False

    return _play(start, report, budget)


def _play(
    start: Callable[[], tuple[Any, np.ndarray]], report: Callable[[Any, int, float], bool], budget: int
) -> tuple[float, int]:
    """Let the workers take turns, an epoch each, until the budget is used up."""
    slots: list[tuple[Any, np.ndarray, int] | None] = [None] * WORKERS
    best, started = 0.0, 0
    for turn in range(budget):
        slot = slots[turn % WORKERS]
        if slot is None:
            slot, started = (*start(), 0), started + 1
        trial, curve, epoch = slot
        best = max(best, float(curve[epoch]))
        slots[turn % WORKERS] = (trial, curve, epoch + 1) if report(trial, epoch + 1, float(curve[epoch])) else None
    return best, started


def main() -> None:
    """Record, replay, and print the paired comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budgets", type=int, nargs="*", default=[108, 216, 432])
    options = parser.parse_args()
    began, curves = time.monotonic(), record()
    print(f"200 curves of {EPOCHS} epochs in {time.monotonic() - began:.0f} s: best {curves.max():.4f}, median of the")
    print(f"best values {np.median(curves.max(-1)):.4f}; ranks after 1 and {EPOCHS} epochs agree to ", end="")
    print(f"{scipy.stats.kendalltau(curves[..., 0].ravel(), curves.max(-1).ravel()).statistic:.2f} (Kendall)")
    with tempfile.TemporaryDirectory(prefix="sweep-fidelity-") as folder:
        for budget in options.budgets:
            own = [ours(curves, seed, budget, Path(folder) / f"{budget}-{seed}") for seed in range(options.seeds)]
            other = [rays(curves, seed, budget) for seed in range(options.seeds)]
            _print(budget, curves.max(), own, other)


def _print(budget: int, top: float, own: list[tuple[float, int]], other: list[tuple[float, int]]) -> None:
    a, b = (np.array([best for best, _ in side]) for side in (own, other))
    gap = a - b
    better, equal, worse = (int(each.sum()) for each in (gap > 0, gap == 0, gap < 0))
    p = scipy.stats.wilcoxon(gap).pvalue if gap.any() else 1.0
    print(
        f"{budget} epochs, against Ray: best {a.mean():.4f} to {b.mean():.4f} (of {top:.4f}), difference "
        f"{gap.mean():+.4f} ± {gap.std(ddof=1) / len(gap) ** 0.5:.4f} (standard error), better in {better}, equal in "
        f"{equal}, worse in {worse} of {len(gap)}, Wilcoxon p {p:.2f}; trials started "
        f"{np.mean([n for _, n in own]):.0f} to {np.mean([n for _, n in other]):.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
