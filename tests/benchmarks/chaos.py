"""A sweep whose parts are killed again and again: what is lost, what is double, and how much is computed twice.

    python -m tests.benchmarks.chaos --kills 20
    python -m tests.benchmarks.chaos --kills 20 --what worker

Each line is one sweep that was disturbed so often, run by the same command until it ended, against the same sweep
undisturbed (one trial at a time, without Ray).
"""

import argparse
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.chaos import Sweep, epochs_redone, faults, kill_drivers, kill_ray, kill_workers, send_signals, trials_of

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TRIALS_A_KILL = 2


def main() -> None:
    """Run the kinds of death that were asked for, and print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--what", nargs="*", choices=[*KINDS], default=[*KINDS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="default: two a kill")
    options = parser.parse_args()
    for kind in options.what:
        with tempfile.TemporaryDirectory(prefix="sweep-chaos-") as folder:
            print(disturbed(kind, options.kills, options.trials, random.Random(options.seed), Path(folder)), flush=True)


def disturbed(kind: str, kills: int, trials: int | None, chance: random.Random, folder: Path) -> str:
    """One disturbed sweep, in words."""
    trials = trials or max(8, TRIALS_A_KILL * kills)
    reference = Sweep(folder / "undisturbed", trials=trials, sleep=0.0)
    reference.finish(reference.start("--address", "inline"))
    sweep, began = Sweep(folder / "disturbed", trials=trials), time.monotonic()
    KINDS[kind](sweep, kills, chance)
    took, left = time.monotonic() - began, sweep.left(30)
    same = trials_of(sweep) == trials_of(reference)
    found = [*faults(sweep), *[f"left: {each}" for each in left]]
    return (
        f"{kind}: killed {sweep.kills} times in {took:.0f} s, {trials} trials, {sweep.reports()} reports; "
        f"{sweep.running} trials were cut, {epochs_redone(sweep)} epochs were computed twice; "
        f"every trial as undisturbed: {'yes' if same else 'NO'}; broken rules: {found or 'none'}"
    )


def _signals(sweep: Sweep, kills: int, chance: random.Random) -> None:
    sent = [SIGNALS[number % 3] for number in range(kills)]
    for signum, (code, left) in zip(sent, send_signals(sweep, sent, chance), strict=False):
        if code != 128 + signum or left:
            print(f"{signum.name}: exit code {code}, left after 10 s: {left or 'nothing'}")


KINDS = {"driver": kill_drivers, "worker": kill_workers, "ray": kill_ray, "signal": _signals}

if __name__ == "__main__":
    main()
