"""The cost of each adapter beside plain ID embeddings (the paper's Table 5): training and ranking time, parameters.

    SWEEP_DATA=data python -m tests.benchmarks.adapters

Every adapter trains a few epochs on the same rows, SASRec of width 128, one thread. Rounds are interleaved so that a
busy machine slows all alike. The median round counts. Ratios are against `none` on the same data set.
With `--wide`, SpecTran also reads random vectors of 4,096 columns, the width of a LLaMA3-8B.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from trainables.config import build
from trainables.data.config import Data
from trainables.data.sequences import load
from trainables.spectran.adapters.config import Adapter
from trainables.spectran.config import Config
from trainables.spectran.run import run
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

ADAPTERS = [settings().name for settings in get_args(Adapter)]
PAPER = {"none": 23.46, "spectran": 24.84, "unisrec": 32.43, "whitenrec": 32.89, "llm_esr": 38.41, "rlmrec": 39.10}
"""Training seconds of Table 5 (Toys, SASRec, one RTX 4090)."""

EPOCHS = 3


def measure(values: dict[str, object], stages: Stages) -> tuple[float, float, int]:
    """Seconds of the quickest training epoch and of ranking the test split, and trainable parameters."""
    with tempfile.TemporaryDirectory() as folder:
        trial = LocalTrial(Path(folder), stages=stages, device="cuda:0" if torch.cuda.is_available() else "cpu")
        run(build(Config, {"fit.epochs": EPOCHS, **values}), trial)
    rate = max(line["trial/examples_per_second"] for _, line in trial.reports[:-1])
    last = trial.reports[-1][1]
    return 1 / rate, last["trial/inference_seconds"], int(last["trial/parameters"])


def wide_vectors(data_name: str, stages: Stages, folder: Path, width: int = 4096) -> str:
    """Random text vectors for every item of a data set, as a file."""
    items = load(Data(name=data_name), stages).num_items - 1
    path = folder / f"{data_name}.{width}.npy"
    np.save(path, np.random.default_rng(0).normal(size=(items, width)).astype(np.float16))
    return str(path)


def main() -> None:
    """Print one table a data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["amazon-office-2014", "amazon-beauty-2014"])
    parser.add_argument("--adapters", nargs="+", default=ADAPTERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wide", action="store_true", help="SpecTran on vectors of 4,096 columns as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(Path(folder) / "stages")
        for name in arguments.data:
            cases = {adapter: (adapter, f"{name}.minilm-l6-v2.npy") for adapter in arguments.adapters}
            if arguments.wide:
                cases["spectran, 4,096 wide"] = ("spectran", wide_vectors(name, stages, Path(folder)))
            rounds: dict[str, list[tuple[float, float, int]]] = {case: [] for case in cases}
            for _ in range(arguments.rounds):
                for case, (adapter, text) in cases.items():
                    values = {"data.name": name, "data.text": text, "adapter.name": adapter}
                    rounds[case].append(measure(values, stages))
            console.print(_table(name, rounds))


def _table(name: str, rounds: dict[str, list[tuple[float, float, int]]]) -> Table:
    table = Table(title=name)
    headers = ("adapter", "µs a training row", "÷ none", "paper ÷ none", "ranking seconds", "÷ none", "parameters")
    for column in headers:
        table.add_column(column, justify="left" if column == "adapter" else "right")
    median = {case: [statistics.median(column) for column in zip(*runs, strict=True)] for case, runs in rounds.items()}
    base = median.get("none")
    for case, (row, ranking, parameters) in median.items():
        ratios = (f"{row / base[0]:.2f}", f"{ranking / base[1]:.2f}") if base else ("", "")
        paper = f"{PAPER[case] / PAPER['none']:.2f}" if case in PAPER else ""
        table.add_row(case, f"{1e6 * row:.0f}", ratios[0], paper, f"{ranking:.3f}", ratios[1], f"{parameters:,.0f}")
    return table


if __name__ == "__main__":
    main()
