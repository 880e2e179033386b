"""The memory that trials side by side share, and their cost to each other: data once, math threads by CPU share.

    SWEEP_DATA=... python tests/benchmarks/sharing.py [--data amazon-office-2014] [--text <file beside it>.npy]
    python tests/benchmarks/sharing.py --items 22948 --width 4096      # Clothing's size, random vectors, memory alone

Prints the memory of data, text vectors and their spectrum in 8 processes (PSS: a page that n processes map counts
1/n), and the training rows per second of two 1-CPU trials at once against one alone, on two cores.
"""

import argparse
import json
import multiprocessing
import queue
import tempfile
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from trainables import config as configs
from trainables.runtime import registry
from trainables.runtime.worker import limit_threads, run_trial
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

_PROCESSES = 8


def map_everything(values: dict[str, Any], folder: Path, barrier: Barrier, results: Any) -> None:
    """Load what a SpecTran trial reads, touch every page, and say how much of it this process pays for."""
    from trainables.data.sequences import load
    from trainables.data.text import text_stage
    from trainables.spectran.spectrum import spectrum

    config = configs.build(registry.load("spectran").config, values)
    stages = Stages(folder)
    sequences = load(config.data, stages)
    text = text_stage(sequences, config.data, stages)
    result = stages.get(spectrum, {"text": text, "center": True, "normalise": True})
    total = sum(float(array.sum()) for array in [sequences.items, *text.values(), *result.values()])
    barrier.wait()
    pss = rss = 0
    ours = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            ours = str(folder) in line
        elif ours and line.startswith("Pss:"):
            pss += int(line.split()[1])
        elif ours and line.startswith("Rss:"):
            rss += int(line.split()[1])
    barrier.wait()
    results.put((pss / 1024, rss / 1024, total))


def train(values: dict[str, Any], folder: Path, stages: Path, barrier: Barrier, results: Any) -> None:
    """Train on one thread once every other process is ready; give the rows a second from the second epoch on."""
    limit_threads(1)
    trial = LocalTrial(folder, stages=Stages(stages))
    barrier.wait()
    run_trial("spectran", values, trial)
    speeds = [m["trial/examples_per_second"] for _, m in trial.reports if "trial/examples_per_second" in m]
    results.put(sum(speeds[1:]) / len(speeds[1:]))


def together(target: Any, arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run `target` in one process an argument tuple, all at once; returns what each put."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(len(arguments)), context.Queue()
    processes = [context.Process(target=target, args=(*each, barrier, results)) for each in arguments]
    for process in processes:
        process.start()
    found = [_answer(results, processes) for _ in processes]
    for process in processes:
        process.join()
    return found


def _answer(results: Any, processes: list[Any]) -> Any:
    """Return the next result of the processes; end all if one has died, as the others would wait for it."""
    while True:
        try:
            return results.get(timeout=1)
        except queue.Empty:
            if codes := [process.exitcode for process in processes if process.exitcode]:
                for process in processes:
                    process.kill()
                raise SystemExit(f"a process ended with exit code {codes[0]}") from None


def catalogue(folder: Path, items: int, width: int) -> dict[str, Any]:
    """Write a data set of so many items and a few users, with random text vectors; returns the settings naming it."""
    place = folder / "made"
    place.mkdir()
    with (place / "made.item").open("w") as stream:
        stream.write("item_id:token\ttitle:token_seq\n")
        stream.writelines(f"{item}\tt{item}\n" for item in range(1, items + 1))
    with (place / "made.inter").open("w") as stream:
        stream.write("user_id:token\titem_id:token\n")
        stream.writelines(f"{user}\t{user + step}\n" for user in range(1, 9) for step in range(6))
    np.save(place / "made.npy", np.random.default_rng(0).standard_normal((items, width), np.float32).astype(np.float16))
    return {"data.root": str(folder), "data.name": "made", "data.text": "made.npy"}


def main() -> None:
    """Print both measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="amazon-office-2014")
    parser.add_argument("--text", default="amazon-office-2014.minilm-l6-v2.npy")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--items", type=int, help="size of a made-up catalogue, instead of --data")
    parser.add_argument("--width", type=int, default=4096, help="of its text vectors")
    options = parser.parse_args()
    values = {"data.name": options.data, "data.text": options.text}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.items:
            values = catalogue(folder, options.items, options.width)
        together(map_everything, [(values, folder / "stages")])
        shares = together(map_everything, [(values, folder / "stages")] * _PROCESSES)
        pss, rss = (sum(share[i] for share in shares) for i in (0, 1))
        print(f"{_PROCESSES} processes map {rss:.1f} MiB in all and pay for {pss:.1f} MiB, ratio {rss / pss:.2f}")
        if options.items:
            return
        training = {**values, "data.train_rows": "all", "fit.epochs": options.epochs, "fit.patience": options.epochs}
        speeds: dict[int, float] = {}
        for count in (1, 2, 2, 1):  # the better of two runs each
            trials = [(training, folder / f"{count}-{i}-{len(speeds)}", folder / "stages") for i in range(count)]
            speeds[count] = max(speeds.get(count, 0.0), sum(together(train, trials)))
        print(json.dumps({f"{count} at once, rows a second": round(speed) for count, speed in speeds.items()}))
        print(f"two 1-CPU trials at once reach {speeds[2] / speeds[1]:.2f} x one alone")


if __name__ == "__main__":
    main()
