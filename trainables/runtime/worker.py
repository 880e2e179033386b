"""One trial from plain values to its end, the same under Ray and without."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainables import config as configs
from trainables.redaction import redact_values, remember
from trainables.runtime import launch, process_group, registry
from trainables.storage import mirror
from trainables.trial import Trial

RESOLVED = "config.json"


def run_ranks(task: Mapping[str, Any], trial: Trial) -> float:
    """Run the trial that ``task`` describes in as many processes as it has ranks, all on this machine: here if one.

    Args:
        task: trainable, values, stages, ranks, cpus and gpus (of all ranks), as the driver hands it out.
        trial: where its reports go.

    Returns:
        MiB of memory that the other processes held.

    Raises:
        RankFailed: one of several ranks failed; all have ended.
        ValueError: there are fewer GPUs here than ranks.
        TrialStopped: the trial was told to end; all ranks have ended.
    """
    if task["ranks"] == 1:
        run_trial(task["trainable"], task["values"], trial)
        return 0.0
    store = process_group.open_store()
    return run_here(rank_tasks(task, trial, process_group.LOOPBACK, store.port), trial, gpus=task["gpus"])


def rank_tasks(task: Mapping[str, Any], trial: Trial, address: str, port: int) -> list[launch.Message]:
    """What each rank of the trial is to do, by rank; ``address`` and ``port`` are those of its store."""
    ranks = task["ranks"]
    common = {name: task[name] for name in ("trainable", "values")} | {
        "folder": mirror.uri_of(trial.folder.absolute()),
        "stages": mirror.uri_of(trial.stages.folder.absolute()),
        "seed": trial.seed,
        "number": trial.number,
        "attempt": trial.attempt,
        "micro_batch_divisor": trial.micro_batch_divisor,
        "threads": task["cpus"] / ranks,
        "world_size": ranks,
        "address": address,
        "port": port,
    }
    return [{**common, "rank": rank} for rank in range(ranks)]


def run_here(
    tasks: Sequence[launch.Message],
    trial: Trial | None,
    *,
    gpus: float,
    address: str = process_group.LOOPBACK,
    others: Sequence[launch.RemoteRanks] = (),
    check: Callable[[], None] = lambda: None,
) -> float:
    """Run the ranks of a trial that have their place on this machine, to the end.

    Args:
        tasks: theirs, of :func:`rank_tasks`.
        trial: where their reports go; None where rank 0 is elsewhere.
        gpus: of all of them.
        address: of this machine, by which the trial's ranks reach each other.
        others: ranks elsewhere, followed too.
        check: see :func:`trainables.runtime.launch.run_ranks`.

    Returns:
        MiB of memory that these and the other ranks held.

    Raises:
        RankFailed, ValueError, TrialStopped: as :func:`run_ranks`.
    """
    interface = process_group.interface_of(address)
    devices = _devices(len(tasks), gpus)
    placed = [
        {**task, "local_rank": place, "device": device, "interface": interface}
        for place, (task, device) in enumerate(zip(tasks, devices, strict=True))
    ]

    def receive(message: launch.Message) -> None:
        assert trial is not None, f"only rank 0 reports, but another one sent {message}"
        trial.report(message["step"], message["metrics"])

    ends = launch.run_ranks(
        "trainables.runtime.rank",
        placed,
        receive=receive,
        outputs=mirror.local_path(tasks[0]["folder"]) / "ranks",
        others=others,
        check=check,
    )
    return float(sum(end["memory_mib"] for end in ends))


def _devices(ranks: int, gpus: float) -> list[str]:
    """One device for each rank on this machine.

    Raises:
        ValueError: there are fewer GPUs here than ranks, and they were asked for.
    """
    if not gpus:
        return ["cpu"] * ranks
    import torch

    if (seen := torch.cuda.device_count()) < ranks:
        raise ValueError(
            f"resources.workers must be at most the GPUs of a trial, but got {ranks} ranks and {seen} GPUs; lower it, "
            "or set resources.gpu to 0"
        )
    return [f"cuda:{rank}" for rank in range(ranks)]


def run_trial(name: str, values: Mapping[str, Any], trial: Trial) -> None:
    """Build the config of trainable ``name`` from dotted ``values`` and run it.

    Raises:
        ConfigError: the values do not fit the trainable's config.
        TrialStopped: the trial was told to end.
    """
    config = configs.build(registry.load(name).config, values)
    flat = configs.flatten(config)
    remember(flat)
    resolved = json.dumps({"trainable": name, **redact_values(flat)}, indent=2, sort_keys=True)
    trial.artifact(RESOLVED).write_text(resolved)
    if trial.micro_batch_divisor > 1:
        trial.tag("trial.micro_batch_divisor", str(trial.micro_batch_divisor))
    registry.load_run(name)(config, trial)


def divides(name: str, values: Mapping[str, Any]) -> bool:
    """Whether trainable ``name`` says that ``values`` train alike in micro-batches: ``micro_batches`` of its config.py.

    What does not build, or says nothing, does not.
    """
    trainable = registry.load(name)
    if trainable.micro_batches is None:
        return False
    try:
        return trainable.micro_batches(configs.build(trainable.config, values))
    except configs.ConfigError:
        return False


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
