"""Train the small model; see config.py."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import torch
from torch import nn

from trainables.language.engines.engine import make_engine
from trainables.language.engines.engine_config import EngineConfig
from trainables.trial import Trial


def run(config: Any, trial: Trial) -> None:
    """Train once for each stage."""
    for stage in config.stages:
        _train(config, stage, trial.phase(f"zero{stage % 5}") if len(config.stages) > 1 else trial)


def _train(config: Any, stage: int, trial: Trial) -> None:
    """Report the loss of each step over all ranks; save after each report."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 15), nn.Tanh(), nn.Linear(15, 5)).requires_grad_(True)
    model[0].requires_grad_(False)
    part = {"name": "torch"} if stage < 0 else {"zero_stage": stage}
    settings = EngineConfig(warm_up=0, accumulation=2, **part)
    engine = make_engine(model, settings, learning_rate=0.05, steps=20, trial=trial, batch_size=16)
    state = trial.load() or {"step": 0}
    if state["step"]:
        engine.restore(state["engine"])
    for step in range(state["step"] + 1, config.steps + 1):
        draws = torch.Generator().manual_seed(step)
        x, target = torch.randn(16, 6, generator=draws), torch.randint(5, (16,), generator=draws)
        mine = slice(trial.rank, None, trial.world_size)
        total = torch.zeros(())
        for part_x, wanted in zip(x[mine].chunk(2), target[mine].chunk(2), strict=True):
            loss = nn.functional.cross_entropy(engine.module(part_x), wanted)
            if step == 3 and trial.rank == trial.world_size - 1:
                _go_wrong(config.wrong, trial)
            engine.backward(loss)
            total += loss.detach() / 2
        engine.step()
        if trial.world_size > 1:
            torch.distributed.all_reduce(total)
        mean = float(total) / trial.world_size
        kept = engine.state()
        trial.report(step, {"train/loss": mean, "valid/ndcg_10": 1 / (1 + mean)})
        trial.save({"step": step, "engine": kept})
    engine.close()


def _go_wrong(how: str, trial: Trial) -> None:
    if how == "kill" or (how == "kill_once" and not trial.attempt):
        sys.stderr.write("this rank is about to be killed\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exception":
        raise RuntimeError("the rank broke")
    if how == "memory":
        raise MemoryError("no room on this rank")
    if how in ("hang", "children") or (how == "hang_once" and not trial.attempt):
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(command)
        (trial.artifact("child")).write_text(str(child.pid))
        sys.stderr.write("this rank hangs\n")
        sys.stderr.flush()
        time.sleep(0 if how == "children" else 600)
