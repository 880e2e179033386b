"""The savings where trials share a phase: 12 values of PAD's gamma, with one stages folder and with one per trial.

    python -m tests.benchmarks.stages data.name=... data.text=... backbone.blocks=2 [--workers 2]

Each side runs the same trials in the same order on as many worker processes, which have loaded their imports before
the clock starts. Sharing goes first, so that a warm page cache is to the other side's advantage. A phase is a stage
that keeps its partial work. Phase 1 is the first that a trial asks for. The seconds of a phase are those inside its
function, and of the last phase those that its training reports as `trial/seconds`. The ideal sums these seconds
alone: the phases that all trials need, one after the other, then each trial's own, laid on the workers in order.
Exits with 1 where a bound does not hold.
"""

import argparse
import functools
import heapq
import json
import math
import multiprocessing
import queue
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from trainables import config as configs
from trainables.runtime import registry
from trainables.runtime.worker import limit_threads, run_trial
from trainables.storage.stages import Arrays, StageResult, Stages
from trainables.trial import LocalTrial

GAMMAS = tuple(float(f"{gamma:.2g}") for gamma in np.geomspace(0.01, 1, 12))
"""Around the paper's 0.2, whose grid is not given."""

EPOCHS = {"pretrain.epochs": 8, "align.epochs": 3, "fit.epochs": 3}
OF_IDEAL, OF_UNSHARED = 1.1, 0.6
"""Most that the sweep may take of the ideal, and of the same sweep without sharing."""


@dataclass(frozen=True)
class Asked:
    """One phase that a trial needed."""

    name: str
    key: str
    seconds: float | None
    """Of training it; None where another trial did."""


@dataclass
class Ran:
    """A worker's record of one trial."""

    number: int
    seconds: float = 0.0
    phases: list[Asked] = field(default_factory=list)
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    error: str = ""

    @property
    def last_phase(self) -> float:
        """Seconds of the phase that is no stage."""
        return max((line["trial/seconds"] for _, line in self.reports if "trial/seconds" in line), default=0.0)

    @property
    def in_phases(self) -> float:
        """Seconds of all training done here."""
        return self.last_phase + math.fsum(phase.seconds or 0.0 for phase in self.phases)

    def metrics(self) -> list[tuple[int, dict[str, float]]]:
        """The reports without what is measured in time."""
        return [(step, {k: v for k, v in line.items() if "trial" not in k.split("/")}) for step, line in self.reports]


class WatchedStages:
    """Stages that write down which phases were asked for and how long their training took here."""

    def __init__(self, stages: Stages, phases: list[Asked]) -> None:
        self._stages = stages
        self._phases = phases
        self.folder = stages.folder

    def get(
        self,
        compute: Callable[..., Arrays],
        inputs: Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        status: Callable[[str], None] | None = None,
        scratch: bool = False,
    ) -> StageResult:
        """See :meth:`Stages.get`."""
        took: list[float] = []

        @functools.wraps(compute)  # the same name, module and version: the same key
        def timed(*args: Any, **kwargs: Any) -> Arrays:
            started = time.perf_counter()
            arrays = compute(*args, **kwargs)
            took.append(time.perf_counter() - started)
            return arrays

        result = self._stages.get(timed, inputs, context=context, notify=status, scratch=scratch)
        if scratch:
            self._phases.append(Asked(compute.__name__, result.fingerprint, took[0] if took else None))
        return result


def work(trainable: str, folder: Path, share: bool, barrier: Barrier, todo: Any, done: Any) -> None:
    """Run trials until none is left, one thread each."""
    limit_threads(1)
    registry.load_run(trainable)
    barrier.wait()
    while (task := todo.get()) is not None:
        number, values = task
        ran = Ran(number)
        trial = LocalTrial(
            folder / str(number),
            number=number,
            stages=Stages(folder / ("stages" if share else f"stages-{number}")),
        )
        trial.stages = WatchedStages(trial.stages, ran.phases)  # type: ignore[assignment]
        started = time.perf_counter()
        try:
            run_trial(trainable, values, trial)
        except Exception:
            ran.error = traceback.format_exc()
        ran.seconds, ran.reports = time.perf_counter() - started, trial.reports
        done.put(ran)


def sweep(
    trainable: str, trials: list[dict[str, Any]], folder: Path, workers: int, share: bool
) -> tuple[float, list[Ran]]:
    """Run all trials; returns the seconds from the first start to the last end, and the trials by number."""
    context = multiprocessing.get_context("spawn")
    barrier, todo, done = context.Barrier(workers + 1), context.Queue(), context.Queue()
    for task in [*enumerate(trials), *[None] * workers]:
        todo.put(task)
    processes = [
        context.Process(target=work, args=(trainable, folder, share, barrier, todo, done), daemon=True)
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    barrier.wait(timeout=300)
    started = time.perf_counter()
    ran: list[Ran] = []
    while len(ran) < len(trials):
        try:
            ran.append(done.get(timeout=1))
        except queue.Empty:
            if any(process.exitcode for process in processes) or not any(p.is_alive() for p in processes):
                sys.exit(f"a worker died after {len(ran)} of {len(trials)} trials; there is no measurement")
            continue
        if ran[-1].error:
            sys.exit(f"trial {ran[-1].number} of {len(trials)} failed:\n{ran[-1].error}")
    seconds = time.perf_counter() - started
    for process in processes:
        process.join(timeout=30)
        process.kill()  # the clock has stopped: one that does not end must not hold up the rest
    return seconds, sorted(ran, key=lambda trial: trial.number)


def ideal(ran: list[Ran], workers: int) -> float:
    """Seconds that the phases' own times allow: what all trials share first, then what each has to itself."""
    users: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for trial in ran:
        for phase in trial.phases:
            users[phase.key] = users.get(phase.key, 0) + 1
            seconds[phase.key] = seconds.get(phase.key, 0.0) + (phase.seconds or 0.0)
    shared = {key for key, count in users.items() if count == len(ran)}
    free = [math.fsum(seconds[key] for key in shared)] * workers
    for trial in ran:
        own = math.fsum(seconds[phase.key] for phase in trial.phases if phase.key not in shared and phase.seconds)
        heapq.heappush(free, heapq.heappop(free) + own + trial.last_phase)
    return max(free)


def differing(one: list[Ran], other: list[Ran]) -> list[int]:
    """Numbers of the trials whose reports differ in a step, a metric's name or a bit of its value."""
    return [a.number for a, b in zip(one, other, strict=True) if repr(a.metrics()) != repr(b.metrics())]


def trainings(ran: list[Ran]) -> dict[str, list[float]]:
    """Seconds of every training of each phase, in the order in which a trial asks for them."""
    found: dict[str, list[float]] = {phase.name: [] for phase in ran[0].phases}
    for trial in ran:
        for phase in trial.phases:
            if phase.seconds is not None:
                found.setdefault(phase.name, []).append(phase.seconds)
    return found


def scalar(text: str) -> object:
    """`2` a number, `true` a truth value, anything else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main() -> None:
    """Run both sides and print seconds, ratios and what must hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("values", nargs="*", metavar="field=value", help="further settings, such as data.name=...")
    parser.add_argument("--trainable", default="pad")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if wrong := [setting for setting in options.values if "=" not in setting]:
        parser.error(f"a value must be written field=value, but got {wrong[0]!r}")
    extra = {name: scalar(text) for name, _, text in (setting.partition("=") for setting in options.values)}
    trials = [{**EPOCHS, **extra, "method.gamma": gamma} for gamma in GAMMAS]
    try:
        for values in trials:
            configs.build(registry.load(options.trainable).config, values)
        registry.load_run(options.trainable)
    except (registry.InvalidTrainable, configs.ConfigError) as error:
        sys.exit(f"this benchmark needs the trainable {options.trainable} and its settings:\n{error}")
    with tempfile.TemporaryDirectory() as name:
        took, shared = sweep(options.trainable, trials, Path(name) / "shared", options.workers, share=True)
        alone_took, alone = sweep(options.trainable, trials, Path(name) / "alone", options.workers, share=False)
    sys.exit(show(took, shared, alone_took, alone, options.workers))


def show(took: float, shared: list[Ran], alone_took: float, alone: list[Ran], workers: int) -> int:
    """Print what was measured; returns 0 where every bound holds."""
    console = Console(highlight=False, soft_wrap=True)
    if not shared[0].phases:
        console.print("a trial must ask for its phases as stages with scratch=True, but none did")
        return 1
    for side, ran in (("shared", shared), ("unshared", alone)):
        for name, seconds in trainings(ran).items():
            mean = math.fsum(seconds) / max(1, len(seconds))
            console.print(f"{side}: {name} was trained {len(seconds)} times, {mean:.2f} s each")
        last = math.fsum(trial.last_phase for trial in ran) / len(ran)
        console.print(f"{side}: the last phase was trained {len(ran)} times, {last:.2f} s each")
    best = ideal(shared, workers)
    different = differing(shared, alone)
    first = shared[0].phases[0].name
    count = len(trainings(shared)[first])
    console.print(f"{len(shared)} trials on {workers} workers: {took:.1f} s shared, {alone_took:.1f} s unshared")
    rest = statistics.median(trial.seconds - trial.in_phases for trial in alone)
    console.print(f"ideal from the phases' own times: {best:.1f} s; a trial spends {rest:.2f} s outside its phases")
    held = {
        f"shared ÷ ideal {took / best:.3f}, at most {OF_IDEAL}": took <= OF_IDEAL * best,
        f"shared ÷ unshared {took / alone_took:.3f}, at most {OF_UNSHARED}": took <= OF_UNSHARED * alone_took,
        f"trainings of phase 1 ({first}): {count}, exactly 1": count == 1,
        f"trials whose metrics differ: {different or 'none'}": not different,
    }
    for sentence, holds in held.items():
        console.print(f"{'holds' if holds else 'FAILS'}: {sentence}")
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    main()
