"""The ranks of a trial: the one-rank process group of a worker, and N local ranks for a trial of several."""

import os


def join_alone(device: str) -> None:
    """Make this process the one rank of a process group, unless it is in one already.

    DeepSpeed needs a group even for one rank, and a second one after the first was destroyed fails; so a worker keeps
    its group for all its trials. No port is opened.

    Args:
        device: ``cpu`` or ``cuda:<index>``.
    """
    import torch.distributed as dist
    from torch._C._distributed_c10d import HashStore

    os.environ.setdefault("LOCAL_RANK", device.partition(":")[2] or "0")  # DeepSpeed reads it, group or not
    if not dist.is_initialized():
        dist.init_process_group(backend_of(device), store=HashStore(), rank=0, world_size=1)


def backend_of(device: str) -> str:
    """The process group's backend for tensors on ``device`` and on the CPU."""
    return "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
