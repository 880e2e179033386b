"""One trial from plain values to its end, the same under Ray and without."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables import config as configs
from trainables.exceptions import first_line
from trainables.redaction import redact_values, remember
from trainables.references import resolve_values
from trainables.runtime import launch, process_group, registry
from trainables.runtime.messages import Report
from trainables.runtime.rank_messages import NodeTask, RankTask
from trainables.runtime.task import Task
from trainables.storage import mirror
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial, Trial

RESOLVED = "config.json"


def make_trial(
    task: Task,
    send: Callable[[int, dict[str, float], bool], None],
    *,
    device: str = "cpu",
    rank: int = 0,
    world_size: int = 1,
) -> LocalTrial:
    """The Trial that ``task`` describes. The other arguments are those of :class:`LocalTrial`."""
    return LocalTrial(
        mirror.local_path(task.folder),
        seed=training_seed(task.values),
        number=task.number,
        attempt=task.attempt,
        device=device,
        rank=rank,
        world_size=world_size,
        stages=Stages(mirror.local_path(task.stages)),
        micro_batch_divisor=task.micro_batch_divisor,
        send=send,
    )


def run_on_node(task: Task, trial: Trial) -> float:
    """Run the trial on this machine: in this process if it has one rank, else in one process per rank.

    Args:
        task: of the trial.
        trial: where its reports go.

    Returns:
        MiB of memory that the other processes held.

    Raises:
        RankFailed: one of several ranks failed; all have ended.
        ValueError: there are fewer GPUs here than ranks.
        TrialStopped: the trial was told to end; all ranks have ended.
    """
    if task.ranks == 1:
        run_trial(task.trainable, task.values, trial)
        return 0.0
    store, address = process_group.open_store(), process_group.LOOPBACK
    ranks = range(task.ranks)
    return run_local_ranks(
        NodeTask(task=task, ranks=ranks, gpus=task.gpus, address=address, port=store.port), trial, address
    )


def run_local_ranks(
    node_task: NodeTask,
    trial: Trial | None,
    address: str,
    *,
    others: Sequence[launch.RemoteRanks] = (),
    check: Callable[[], None] = lambda: None,
) -> float:
    """Run the ranks of a trial that have their place on this machine, to the end.

    Args:
        node_task: names them.
        trial: where their reports go; None where rank 0 is elsewhere.
        address: of this machine, by which the trial's ranks reach each other.
        others: ranks elsewhere, followed too.
        check: see :func:`trainables.runtime.launch.supervise_ranks`.

    Returns:
        MiB of memory that these and the other ranks held.

    Raises:
        RankFailed, ValueError, TrialStopped: as :func:`run_on_node`.
    """
    interface = process_group.interface_of(address)
    devices = _devices(len(node_task.ranks), node_task.gpus)
    rank_tasks = [
        RankTask(
            task=node_task.task,
            rank=rank,
            local_rank=local_rank,
            device=device,
            interface=interface,
            address=node_task.address,
            port=node_task.port,
        )
        for local_rank, (rank, device) in enumerate(zip(node_task.ranks, devices, strict=True))
    ]

    def receive(report: Report) -> None:
        assert trial is not None, f"only rank 0 reports, but another one sent {report}"
        trial.report(report.step, report.metrics, report.last)

    ends = launch.supervise_ranks(
        "trainables.runtime.rank",
        rank_tasks,
        receive=receive,
        others=others,
        check=check,
    )
    return sum(end.memory_mib for end in ends)


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
        ConfigError: the values do not fit the trainable's config, or name a variable that is not set here.
        TrialStopped: the trial was told to end.
    """
    trainable = registry.load(name)
    flat = configs.flatten(configs.build(trainable.config, values))
    try:
        secrets = {field: text for field, text in resolve_values(flat).items() if text != flat[field]}
    except ValueError as error:
        raise configs.ConfigError([str(error)]) from None
    config = configs.build(trainable.config, {**values, **secrets})
    remember(flat)
    resolved = json.dumps({"trainable": name, **redact_values(flat)}, indent=2, sort_keys=True)
    trial.artifact(RESOLVED).write_text(resolved)
    if trial.micro_batch_divisor > 1:
        trial.tag("trial.micro_batch_divisor", str(trial.micro_batch_divisor))
    if not registry.is_imported(name):
        trial.status(f"imports {name}")
    run = registry.load_run(name)
    trial.status("")
    run(config, trial)


def read_resolved(artifacts: Path) -> tuple[str, dict[str, Any]]:
    """The trainable of a trial, and the flat values that :func:`run_trial` wrote to its ``artifacts``.

    Raises:
        ConfigError: with the reason alone, they are not there or are none.
    """
    try:
        values = json.loads((artifacts / RESOLVED).read_text())
        return values.pop("trainable"), values
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise configs.ConfigError([first_line(error)]) from None


def divides(name: str, values: Mapping[str, Any]) -> bool:
    """True if trainable ``name`` says by ``micro_batches`` that ``values`` train alike in half a micro-batch.

    Values that do not build a config do not, nor do those of a trainable without ``micro_batches``.
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
