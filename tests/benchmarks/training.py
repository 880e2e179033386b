"""Training speed: `seqrec.fit` on SASRec against RecBole 1.2.1's SASRec, epoch by epoch in turn, in one run.

    python tests/benchmarks/training.py [--threads 2] [--epochs 4] [--adapter none]

Office (amazon-office-2014 under $SWEEP_DATA), width 128, history 10, batch 256, 2 blocks, 1 head, every prefix a row:
ours with 64 negatives, the peer with its own full softmax. The peer gets the same interactions and a virtual
environment of its own (numpy < 2, ray 2.6.3), made once below $SWEEP_CACHE, else ~/.cache/recsys-sweeps. Threads of
both wait without spinning, so that other work on the machine slows them alike.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEER = ("torch==2.13.0", "numpy<2", "recbole==1.2.1", "ray==2.6.3", "setuptools<81")


def peer_python() -> Path:
    """The interpreter of the peer's virtual environment, made where it is missing."""
    cache = Path(os.environ.get("SWEEP_CACHE") or Path.home() / ".cache" / "recsys-sweeps")
    folder = cache / "recbole-1.2.1"
    if not (folder / "ready").exists():
        print(f"making the peer's virtual environment in {folder} (some minutes, once)", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", *PEER], check=True)
        (folder / "ready").touch()
    return folder / "bin" / "python"


def write_peer_data(folder: Path, sequences: Any, keep_last: int) -> None:
    """The newest interactions of each user as ``office/office.inter``, their order as the timestamp."""
    (folder / "office").mkdir()
    with (folder / "office" / "office.inter").open("w") as stream:
        stream.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, (start, end) in enumerate(zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)):
            for time_step, item in enumerate(sequences.items[max(start, end - keep_last) : end]):
                stream.write(f"{user}\t{item}\t{time_step}\n")


class Peer:
    """The peer's process, idle until asked."""

    def __init__(self, folder: Path, threads: int, dropout: float) -> None:
        command = [peer_python(), Path(__file__).with_name("recbole_peer.py"), folder, threads, dropout]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with (folder / "peer.log").open("w") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env={**env, "OMP_NUM_THREADS": str(threads)},
            )
        self.log = folder / "peer.log"

    def ask(self, what: str) -> dict[str, float]:
        """Have it ``train`` one epoch or ``evaluate``; its rows and seconds."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended:\n{self.log.read_text()[-3000:]}")
        answer: dict[str, float] = json.loads(line)
        return answer


class Clock:
    """Seconds spent in each part of our training, by wrapping what ``fit`` and ``run`` call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def time(self, part: str) -> Iterator[None]:
        """Add the body's time to ``part``."""
        started = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started

    def install(self) -> None:
        """Wrap batching, the optimiser's step, evaluation and checkpoints."""
        from trainables.data.batches import batches
        from trainables.seqrec import fit
        from trainables.seqrec.evaluate import rank_rows
        from trainables.spectran import run
        from trainables.trial import LocalTrial

        adam, save = fit.adam, LocalTrial.save

        def timed_batches(*args: Any) -> Iterator[Any]:
            source = iter(batches(*args))
            while True:
                with self.time("data"):
                    batch = next(source, None)
                if batch is None:
                    return
                yield batch

        def timed_adam(*args: Any) -> Any:
            optimiser = adam(*args)
            step = optimiser.step

            def timed_step() -> None:
                with self.time("optimiser"):
                    step()

            optimiser.step = timed_step  # type: ignore[assignment]
            return optimiser

        def timed_rank(*args: Any, **settings: Any) -> Any:
            with self.time("evaluation"):
                return rank_rows(*args, **settings)

        def timed_save(trial: LocalTrial, state: dict[str, Any]) -> None:
            with self.time("checkpoint"):
                save(trial, state)

        vars(fit).update(adam=timed_adam, batches=timed_batches)
        vars(run)["rank_rows"] = timed_rank
        LocalTrial.save = timed_save  # type: ignore[assignment]


def main() -> None:
    """Train both in turn and print rows per second, their ratio, and where our time goes."""
    os.environ["OMP_WAIT_POLICY"] = "passive"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4, help="epochs of each, after one that is not counted")
    parser.add_argument("--adapter", default="none", choices=["none", "spectran"])
    parser.add_argument("--dropout", type=float, default=0.5, help="of both")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    sys.path.insert(0, str(ROOT))
    import torch

    from trainables.config import build
    from trainables.data.sequences import load
    from trainables.data.splits import leave_one_out
    from trainables.spectran.config import Config
    from trainables.spectran.run import run
    from trainables.trial import LocalTrial

    torch.set_num_threads(arguments.threads)
    name = "amazon-office-2014"
    values = {
        "data.name": name,
        "data.text": f"{name}.minilm-l6-v2.npy",
        "data.train_rows": "all",
        "adapter.name": arguments.adapter,
        "fit.dropout": arguments.dropout,
        "fit.epochs": arguments.epochs + 1,
        "fit.patience": arguments.epochs + 1,
    }
    config, clock = build(Config, values), Clock()
    clock.install()
    speeds: dict[str, list[float]] = {"ours": [], "RecBole": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trial = LocalTrial(folder / "trial", seed=0)
        sequences = load(config.data, trial.stages)
        splits = leave_one_out(sequences, config.data)
        write_peer_data(folder, sequences, config.data.keep_last or 0)
        peer = Peer(folder, arguments.threads, arguments.dropout)

        def after_epoch(step: int, metrics: dict[str, float], last: bool) -> None:
            if "train/loss" not in metrics:
                return
            answer = peer.ask("train")
            assert answer["rows"] == len(splits.train), f"the peer trains on {answer['rows']} rows"
            if step > 1:
                speeds["ours"].append(metrics["trial/examples_per_second"])
                speeds["RecBole"].append(answer["rows"] / answer["seconds"])
            print(
                f"epoch {step}: ours {metrics['trial/examples_per_second']:,.0f} rows/s, RecBole "
                f"{answer['rows'] / answer['seconds']:,.0f}",
                flush=True,
            )

        trial._send = after_epoch
        run(config, trial)
        peer_evaluation = peer.ask("evaluate")["seconds"]
        peer.process.stdin.close()  # type: ignore[union-attr]
        peer.process.wait()
    report(speeds, clock.seconds, trial.reports, len(splits.train), len(splits.valid), sequences.num_items)
    print(f"RecBole's evaluation of the same {len(splits.valid):,} users: {peer_evaluation:.2f} s")


def report(
    speeds: dict[str, list[float]],
    parts: dict[str, float],
    reports: list[tuple[int, dict[str, float]]],
    rows: int,
    users: int,
    num_items: int,
) -> None:
    """Print medians, ratios and shares."""
    ours, peer = (statistics.median(speeds[side]) for side in ("ours", "RecBole"))
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["RecBole"], strict=True)]
    print(f"\nours    {ours:10,.0f} rows/s (median of {len(ratios)} epochs of {rows:,} rows)")
    print(f"RecBole {peer:10,.0f} rows/s")
    print(f"ratio   {statistics.median(ratios):10.1f} (from {min(ratios):.1f} to {max(ratios):.1f})")
    lines = [metrics for _, metrics in reports if "train/loss" in metrics]
    training = sum(rows / line["trial/examples_per_second"] for line in lines)
    compute = training - parts["data"] - parts["optimiser"]
    shares = {
        "data": parts["data"],
        "forward + backward": compute,
        "optimiser": parts["optimiser"],
        "evaluation": parts["evaluation"],
        "checkpoint": parts["checkpoint"],
    }
    print("shares  " + ", ".join(f"{part} {seconds / sum(shares.values()):.1%}" for part, seconds in shares.items()))
    once = parts["evaluation"] / (len(lines) + 1)
    print(f"evaluation of {users:,} users over {num_items - 1:,} items: {once:.2f} s")


if __name__ == "__main__":
    main()
