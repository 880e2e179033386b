"""Recorded learning curves, which searches replay in place of training.

    python -m tests.benchmarks.curves ../curves.csv --seeds 4

A recording holds the validation curve of each of 200 settings of SpecTran on the synthetic data, 12 epochs each, once
for each of some seeds of the training. Without one the curves are invented: a value rises to a level that falls with
the square of the distance to the best setting, sooner at high learning rates, which then lose some of it again. Each
run and each epoch adds noise.
"""

import argparse
import csv
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from platform.space.check import open_sweep
from platform.space.space import Space
from platform.sweepfile.spec import SweepSpec

EPOCHS, AXES = 12, 4
METRIC = "valid/ndcg_20"
SWEEP = """\
name: curves
trainable: spectran
metric: {name: valid/ndcg_20, goal: maximize}
num_trials: 100000
early_stopping: {type: asha, min_reports: 4, reduction_factor: 3}
parameters:
  fit.learning_rate: {values: [0.001, 0.003, 0.01, 0.03, 0.1]}
  adapter.taylor_order: {min: 1, max: 5}
  fit.dropout: {min: 0.0, max: 0.6, step: 0.2}
  fit.weight_decay: {values: [0, 1.0e-4]}
  fit.epochs: 12
  fit.patience: 12
  fit.batch_size: 128
  dim: 16
  backbone.blocks: 1
  data.text_width: 64
  data.eval_rows: 400
  objective.negatives: 32
"""
Setting: TypeAlias = tuple[float, ...]
Row: TypeAlias = tuple[float, ...]
"""Of a recording: the setting, the seed of the training, the value after each epoch."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """All settings as one search meets them."""

    curves: Mapping[Setting, Sequence[tuple[float, ...]]]
    """One of each seed of the training that a search may use."""
    truth: Mapping[Setting, float]
    """The mean best value with the other seeds."""

    @property
    def top(self) -> list[Setting]:
        """The true best 5 %, the best last."""
        return sorted(self.truth, key=lambda setting: self.truth[setting])[-(len(self.truth) // 20) :]


def open_space(folder: Path, seed: int = 0, *overrides: str) -> tuple[SweepSpec, Space]:
    """The sweep and its space, with the sweep's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "curves.yaml").write_text(SWEEP)
    return open_sweep(folder / "curves.yaml", [f"seed={seed}", f"storage={folder}", *overrides])


def key(space: Space, values: Mapping[str, Any]) -> Setting:
    """The place of a point in the table."""
    return tuple(float(values[name]) for name in space.swept[:AXES])


def record(path: Path, seeds: int) -> None:
    """Train every setting with every seed; what the recording has already is not trained again."""
    with tempfile.TemporaryDirectory(prefix="curves-") as name, ProcessPoolExecutor() as pool:
        _, space = open_space(Path(name))
        known = {row[:-EPOCHS] for row in read(path)} if path.exists() else set()
        every = [(values, seed) for seed in range(seeds) for values in space.grid()]
        left = [(values, seed) for values, seed in every if (*key(space, values), seed) not in known]
        curves = pool.map(train, *zip(*left, strict=True), itertools.repeat(name)) if left else ()
        with path.open("a", newline="") as file:
            table = csv.writer(file)
            if not known:
                table.writerow([*space.swept, "seed", *range(1, EPOCHS + 1)])
            for (values, seed), curve in zip(left, curves, strict=True):
                table.writerow([*key(space, values), seed, *curve])
                file.flush()


def train(values: Mapping[str, Any], seed: int, stages: str) -> list[float]:
    """The validation curve of one setting."""
    from trainables.runtime.worker import limit_threads, run_trial
    from trainables.storage.stages import Stages
    from trainables.trial import LocalTrial

    limit_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trial = LocalTrial(Path(folder), seed=seed, stages=Stages(Path(stages) / "stages"))
        run_trial("spectran", {**values, "seed": seed}, trial)
        return [line[METRIC] for _, line in trial.reports if METRIC in line]


def read(path: Path) -> Iterator[Row]:
    """The rows of a recording."""
    with path.open(newline="") as file:
        yield from (tuple(map(float, row)) for row in itertools.islice(csv.reader(file), 1, None))


def invent(seeds: int = 4, noise: float = 0.003) -> Iterator[Row]:
    """Rows of the invented family of curves, with this deviation between seeds."""
    random, epochs = np.random.default_rng(0), np.arange(1, EPOCHS + 1)
    with tempfile.TemporaryDirectory() as name:
        settings = [key(space, values) for _, space in [open_space(Path(name))] for values in space.grid()]
    places = np.array(
        [np.unique(axis, return_inverse=True)[1] / (len(set(axis)) - 1) for axis in np.transpose(settings)]
    )
    level = 0.22 - 0.08 * ((places.T - [0.6, 0.4, 0.5, 1]) ** 2 * [1, 0.3, 0.6, 0.1]).sum(1)
    for seed, (setting, rate, high) in itertools.product(range(seeds), zip(settings, places[0], level, strict=True)):
        curve = 0.14 + (high - 0.14) * (1 - np.exp(-epochs / (1 + 8 * (1 - rate) ** 2))) - 0.002 * rate**2 * epochs
        both = random.normal(scale=noise) + random.normal(scale=0.003, size=EPOCHS)
        yield (*setting, seed, *map(float, curve + both))


def tables(rows: Iterable[Row], count: int, seen: int = 1) -> list[Table]:
    """Tables that each draw, for each setting, the seeds whose curves a search sees; the others know its true value.

    Raises:
        ValueError: no seed with every setting is left for the true values.
    """
    curves: dict[float, dict[Setting, tuple[float, ...]]] = {}
    for row in rows:
        curves.setdefault(row[-EPOCHS - 1], {})[row[: -EPOCHS - 1]] = row[-EPOCHS:]
    whole = [each for each in curves.values() if len(each) == max(map(len, curves.values()))]
    if len(whole) <= seen:
        raise ValueError(f"a recording must hold {seen + 1} seeds of every setting, but got {len(whole)}; record more")

    def table(random: np.random.Generator) -> Table:
        first = zip(whole[0], random.integers(len(whole), size=len(whole[0])), strict=True)
        orders = {setting: [*whole[seed:], *whole[:seed]] for setting, seed in first}
        return Table(
            curves={setting: [runs[setting] for runs in order[:seen]] for setting, order in orders.items()},
            truth={
                setting: float(np.mean([max(runs[setting]) for runs in order[seen:]]))
                for setting, order in orders.items()
            },
        )

    return [table(np.random.default_rng(number)) for number in range(count)]


def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="CSV", help="of the recording; only what it lacks is trained")
    parser.add_argument("--seeds", type=int, default=4, help="of each setting's training (4)")
    options = parser.parse_args()
    record(options.path, options.seeds)


if __name__ == "__main__":
    main()
