"""Trials that wait for a shared result know its computing trial, replace a dead one, compute nothing twice."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.storage.stages import MANIFEST, Stages, stage, stage_key
from trainables.trial import LocalTrial, TrialStopped

TOTAL, HELD = 5, 3
"""Number of steps, and the step before which the computing trial waits for the file `go`."""

fork = multiprocessing.get_context("fork")


@stage(version=1)
def counted(total, folder, place, act):
    """Count to `total`, each step kept in the scratch folder; `act(step)` runs before each."""
    note(place, "start")
    for step in range(len(list(folder.iterdir())), total):
        act(step)
        (folder / str(step)).touch()
        note(place, f"step {step}")
    note(place, "end")
    return {"first": np.arange(total), "second": np.full(total, os.getpid())}


INPUTS = {"total": TOTAL}
KEY = stage_key(counted, INPUTS)


def note(place: Path, event: str) -> None:
    """One line in a log that all processes share; appended whole."""
    with (place / "log").open("a") as log:
        log.write(f"{event}\n")


def events(place: Path) -> list[str]:
    path = place / "log"
    return path.read_text().splitlines() if path.exists() else []


def hold(place: Path) -> Callable[[int], None]:
    def act(step: int) -> None:
        while step == HELD and not (place / "go").exists():
            time.sleep(0.01)

    return act


def ask(place: Path, number: int, act: Callable[[int], None] | None = None) -> list[int]:
    """Ask for the result as trial `number`, with every message kept in `said.<number>`."""
    trial = LocalTrial(place / str(number), number=number, stages=Stages(place / "stages"))

    def status(text: str) -> None:
        trial.status(text)
        note(place / str(number), text)

    result = trial.stages.get(
        counted, INPUTS, context={"place": place, "act": act or hold(place)}, notify=status, scratch=True
    )
    assert result["first"].tolist() == list(range(TOTAL))
    assert len(set(result["second"].tolist())) == 1
    note(place, f"read {number}")
    return result["second"].tolist()


def said(place: Path, number: int) -> list[str]:
    """Messages to trial `number`, each sentence once while it lasts."""
    lines = events(place / str(number))
    return [line for line, before in zip(lines, [None, *lines], strict=False) if line != before]


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


@pytest.fixture
def start() -> Iterator[Callable[..., BaseProcess]]:
    """Call with `ask`'s arguments for a process that runs it."""
    started: list[BaseProcess] = []

    def begin(*arguments: object, target: Callable[..., object] = ask) -> BaseProcess:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # inherited; a job in the background has it ignored
        process = fork.Process(target=target, args=arguments)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join()


def owner(process: BaseProcess, number: int) -> str:
    return f"trial {number} (process {process.pid} on {socket.gethostname()})"


def left(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "stages").iterdir())


def test_when_who_computes_is_killed_exactly_one_of_those_who_wait_carries_on_where_it_was(start, tmp_path):
    first = start(tmp_path, 0)
    until(lambda: f"step {HELD - 1}" in events(tmp_path))
    waiting = {number: start(tmp_path, number) for number in (1, 2)}
    for number in waiting:
        until(partial(said, tmp_path, number))
        assert said(tmp_path, number) == [f"waits for counted, computed by {owner(first, 0)}"]
        assert (tmp_path / str(number) / "status").read_text() == said(tmp_path, number)[0]
    first.kill()
    first.join()
    until(lambda: events(tmp_path).count("start") == 2)
    taker = next(number for number in waiting if any("takes over" in line for line in said(tmp_path, number)))
    other = 3 - taker
    until(lambda: said(tmp_path, other)[-1] == f"waits for counted, computed by {owner(waiting[taker], taker)}")
    assert not any(line.startswith("read") for line in events(tmp_path))
    (tmp_path / "go").touch()
    for process in waiting.values():
        process.join(20)
        assert process.exitcode == 0
    assert events(tmp_path)[:-2] == [
        "start",
        *(f"step {step}" for step in range(HELD)),
        "start",
        *(f"step {step}" for step in range(HELD, TOTAL)),
        "end",
    ]
    assert sorted(events(tmp_path)[-2:]) == ["read 1", "read 2"]
    assert said(tmp_path, taker)[1:] == [f"takes over counted from {owner(first, 0)}", ""]
    assert said(tmp_path, other)[1:] == [f"waits for counted, computed by {owner(waiting[taker], taker)}", ""]
    assert (tmp_path / str(other) / "status").read_text() == ""
    assert left(tmp_path) == [KEY, f"{KEY}.lock"]


@pytest.mark.parametrize("moment", ["arrays", "manifest", "rename", "cleaning"])
def test_a_kill_while_the_result_is_written_leaves_none_or_a_whole_one_and_no_step_is_done_again(
    start, tmp_path, moment
):
    (tmp_path / "go").touch()
    dying = start(tmp_path, 0, moment, target=_die_at)
    dying.join(20)
    assert dying.exitcode == -signal.SIGKILL
    published = moment == "cleaning"
    assert (tmp_path / "stages" / KEY / MANIFEST).exists() == published
    assert f"{KEY}.scratch" in left(tmp_path)
    assert set(ask(tmp_path, 1)) == {dying.pid if published else os.getpid()}
    assert [event for event in events(tmp_path) if event.startswith("step")] == [f"step {s}" for s in range(TOTAL)]
    assert events(tmp_path).count("start") == (1 if published else 2)
    if not published:
        assert said(tmp_path, 1) == [f"takes over counted from {owner(dying, 0)}", ""]
    assert [name for name in left(tmp_path) if not name.endswith(".owner")] == [KEY, f"{KEY}.lock"]


def _die_at(place: Path, number: int, moment: str) -> None:
    """Ask, and be killed between two arrays, before the manifest, before the rename or once there is a result."""

    def die(*args: object, **kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    saved: list[bool] = []

    def save(*args: Any, **kwargs: object) -> None:
        if saved:
            die()
        np.lib.format.write_array(args[0], args[1])
        saved.append(True)

    home, name, patch = {
        "arrays": (np, "save", save),
        "manifest": (json, "dump", die),
        "rename": (Path, "rename", die),
        "cleaning": (shutil, "rmtree", die),
    }[moment]
    setattr(home, name, patch)
    ask(place, number)


def test_killing_whoever_computes_again_and_again_costs_no_finished_step(start, tmp_path):
    """Four kills, each once a step is done: the fifth who computes does the last of five."""

    def dies(step: int) -> None:
        if len(list((tmp_path / "stages" / f"{KEY}.scratch").iterdir())) > events(tmp_path).count("start") - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    asking = [start(tmp_path, number, dies) for number in range(TOTAL)]
    for process in asking:
        process.join(30)
    assert sorted(process.exitcode for process in asking) == [-signal.SIGKILL] * (TOTAL - 1) + [0]
    done = [event for event in events(tmp_path) if not event.startswith("read")]
    assert done == [line for step in range(TOTAL) for line in ("start", f"step {step}")] + ["end"]


def test_a_child_that_a_killed_process_leaves_behind_does_not_keep_its_lock(start, tmp_path):
    def forks(step: int) -> None:
        if step == HELD:
            child = os.fork()
            if not child:
                time.sleep(60)
                os._exit(0)
            (tmp_path / "child").write_text(str(child))
            time.sleep(60)

    first = start(tmp_path, 0, forks)
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    first.kill()
    first.join()
    (tmp_path / "go").touch()
    second = start(tmp_path, 1)
    second.join(10)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert second.exitcode == 0


@pytest.mark.parametrize("error", [RuntimeError, TrialStopped, KeyboardInterrupt])
def test_who_fails_or_is_stopped_while_computing_hands_its_work_to_who_waits(start, tmp_path, error):
    def fails(step: int) -> None:
        if step == HELD:
            until((tmp_path / "1" / "log").exists)
            raise error("stopped")

    def attempt(place: Path) -> None:
        with contextlib.suppress(error):
            ask(place, 0, fails)
        note(place, "stopped")
        until((place / "go").exists)  # it lives on, as an actor that takes its next trial

    first = start(tmp_path, target=attempt)
    until(lambda: "start" in events(tmp_path))
    second = start(tmp_path, 1)
    until(lambda: events(tmp_path).count("start") == 2)
    assert first.is_alive()
    assert said(tmp_path, 1)[1:] == [f"takes over counted from {owner(first, 0)}"]
    (tmp_path / "go").touch()
    second.join(20)
    assert second.exitcode == 0
    assert [event for event in events(tmp_path) if event.startswith("step")] == [f"step {s}" for s in range(TOTAL)]
    assert left(tmp_path) == [KEY, f"{KEY}.lock"]


def test_who_waits_can_be_stopped_and_who_computes_is_not_disturbed(start, tmp_path):
    first = start(tmp_path, 0)
    until(lambda: f"step {HELD - 1}" in events(tmp_path))

    def stop(text: str) -> None:
        raise TrialStopped

    stages = Stages(tmp_path / "stages")
    with pytest.raises(TrialStopped):
        stages.get(counted, INPUTS, context={"place": tmp_path, "act": stop}, notify=stop, scratch=True)
    interrupted = start(tmp_path, 1)
    until(lambda: said(tmp_path, 1))
    os.kill(interrupted.pid, signal.SIGINT)
    interrupted.join(5)
    assert interrupted.exitcode == 1
    (tmp_path / "go").touch()
    first.join(20)
    assert first.exitcode == 0
    assert events(tmp_path).count("start") == 1


def test_threads_of_one_process_compute_once_too(tmp_path):
    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda n=n: results.append(ask(tmp_path, n))) for n in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: sum(bool(said(tmp_path, number)) for number in range(3)) == 2)
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(20)
    assert results == [[os.getpid()] * TOTAL] * 3
    assert events(tmp_path).count("start") == events(tmp_path).count("end") == 1


def test_a_result_whose_owner_is_not_known_is_waited_for_too(tmp_path):
    stages, heard = Stages(tmp_path / "stages"), []
    thread = threading.Thread(target=ask, args=(tmp_path, 0))
    thread.start()
    until(lambda: f"step {HELD - 1}" in events(tmp_path))
    (tmp_path / "stages" / f"{KEY}.owner").unlink()

    def status(text: str) -> None:
        heard.append(text)
        (tmp_path / "go").touch()

    stages.get(counted, INPUTS, context={"place": tmp_path, "act": None}, notify=status, scratch=True)
    thread.join(20)
    assert (heard[0], heard[-1]) == ("waits for counted", "")
