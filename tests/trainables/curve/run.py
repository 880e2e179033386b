"""Run the curve; see config.py."""

import errno
import json
import os
import random
import signal
import threading
import time
from typing import Any

from trainables.storage import mirror, segments
from trainables.trial import Trial

_ENDLESS = threading.Event()


def run(config: Any, trial: Trial) -> None:
    """Report `config.steps` points of a rising curve, then the test value once."""
    if config.load_torch:
        import torch  # noqa: F401
    if config.wrong == "silent":
        return
    bend = getattr(config.part, "bend", 1)
    top = 1 - (config.x - 0.7) ** 2 - ((config.width - 32) / 100) ** 2 + 0.01 * bend
    state = trial.load() or {"step": 0}
    for step in range(state["step"] + 1, config.steps + 1):
        time.sleep(config.sleep)
        if config.log_work:
            with (trial.folder / "work.log").open("a") as log:
                log.write(f"{step}\n")
        noise = random.Random(1000 * config.seed + step).uniform(-0.001, 0.001)
        value = top * step / (step + bend) + noise
        if step == 3:
            value = _go_wrong(config.wrong, trial, value)
        trial.status(f"step {step} of {config.steps}")
        trial.report(step, {"train/loss": 1 / step, "valid/ndcg_10": value, "valid/hr_10": 1 - value / 2})
        if config.witness:
            _find(trial, step)
        if config.checkpoints:
            trial.save({"step": step})
    trial.report(config.steps, {"test/ndcg_10": top})


def _go_wrong(how: str, trial: Trial, value: float) -> float:
    if how == "nan":
        return float("nan")
    if how == "exception" or (how == "once" and not trial.attempt):
        raise RuntimeError("the curve broke")
    if how == "text":
        raise ValueError("cannot read " + b"caf\xe9\0.inter".decode("utf-8", "surrogateescape"))
    if how == "exit" or (how == "exit_once" and not trial.attempt):
        os._exit(1)
    if how == "memory" and trial.micro_batch_divisor == 1:
        raise MemoryError("no room for a batch")
    if how == "deaf":
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            raise RuntimeError("the file lacks a part") from None
    if how == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    if how == "hang":
        _ENDLESS.wait()
    if how == "leave":
        raise SystemExit(0)
    if how == "thread":
        threading.Thread(target=_ENDLESS.wait, name="left behind", daemon=True).start()
    return value


def _find(trial: Trial, step: int) -> None:
    mirror.pull(trial.folder, lambda name: name.startswith("journal"))
    *_, last = [line for part in segments.parts(trial.folder) for line in part.read_text().splitlines()]
    if json.loads(last)["step"] != step:
        raise AssertionError(f"step {step} was reported, but the journal ends with {last}")
