"""One trial from plain values to its end, the same under Ray and without."""

import json
import os
from collections.abc import Mapping
from typing import Any

from trainables import config as configs
from trainables import registry
from trainables.redaction import redact_values, remember
from trainables.trial import Trial, last_report

RESOLVED = "config.json"


def run_trial(name: str, values: Mapping[str, Any], trial: Trial) -> None:
    """Build the config of trainable ``name`` from dotted ``values`` and run it.

    A trial that was taken up with nothing left to do repeats the last line of its journal, so that whoever waits for
    a report gets one.

    Raises:
        ConfigError: the values do not fit the trainable's config.
        TrialStopped: the trial was told to end.
    """
    config = configs.build(registry.load_config(name).Config, values)
    flat = configs.flatten(config)
    remember(flat)
    resolved = json.dumps({"trainable": name, **redact_values(flat)}, indent=2, sort_keys=True)
    trial.artifact(RESOLVED).write_text(resolved)
    if trial.micro_batch_divisor > 1:
        trial.tag("trial.micro_batch_divisor", str(trial.micro_batch_divisor))
    before = last_report(trial.folder)
    reported = _Counted(trial)
    registry.load_run(name).run(config, reported)
    if not reported.count and before:
        trial.report(*before)


class _Counted:
    """The same trial, with its reports counted."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        self.count += 1
        self._trial.report(step, metrics)


def divides(name: str, values: Mapping[str, Any]) -> bool:
    """Whether trainable ``name`` says that ``values`` train alike in micro-batches: ``micro_batches`` of its config.py.

    What does not build, or says nothing, does not.
    """
    module = registry.load_config(name)
    if not hasattr(module, "micro_batches"):
        return False
    try:
        config = configs.build(module.Config, values)
    except configs.ConfigError:
        return False
    return bool(module.micro_batches(config))


def training_seed(values: Mapping[str, Any]) -> int:
    """The seed of a trial's training: its parameter ``seed``, 0 where it is not set (or no integer: Config says so)."""
    seed = values.get("seed", 0)
    return seed if isinstance(seed, int) else 0


def limit_threads(cpus: float) -> None:
    """Let this process's math libraries use ``cpus`` threads (at least one): more than its share slows every trial."""
    threads = max(1, int(cpus))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads: threads that spin starve each other
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
