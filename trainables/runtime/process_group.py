"""The process group of a trial: of its ranks, wherever they run, or the one-rank one of a worker."""

import os
import socket
from typing import Any

from trainables.runtime.rank_messages import RankTask

LOOPBACK = "127.0.0.1"


def open_store(address: str = LOOPBACK) -> Any:
    """A store over which the ranks of a trial find each other; closed when dropped.

    Args:
        address: of this machine, and the only one on which it listens; the kernel picks the port.
    """
    from torch._C._distributed_c10d import TCPStore

    server = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    port = server.getsockname()[1]
    return TCPStore(address, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach())


def interface_of(address: str) -> str:
    """The name of this machine's network interface that has ``address``, such as ``lo``; ``$GLOO_SOCKET_IFNAME`` wins.

    Raises:
        ValueError: none has it.
    """
    import psutil

    if named := os.environ.get("GLOO_SOCKET_IFNAME"):
        return named
    interfaces = psutil.net_if_addrs()
    for name, addresses in interfaces.items():
        if address in (each.address.partition("%")[0] for each in addresses):
            return name
    raise ValueError(
        f"a trial over several nodes needs a node's address on a network interface, but {address} is on none of "
        f"{', '.join(sorted(interfaces))}; set GLOO_SOCKET_IFNAME on every node to the interface to the other nodes"
    )


def join(task: RankTask) -> None:
    """Make this process one rank of its trial's process group."""
    import torch
    import torch.distributed as dist
    from torch._C._distributed_c10d import TCPStore

    os.environ.setdefault("GLOO_SOCKET_IFNAME", task.interface)  # else what the host's name resolves to decides
    if task.address != LOOPBACK:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", task.interface)
    rank, world_size = task.rank, task.task.ranks
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(task.local_rank))
    if task.device.startswith("cuda"):
        torch.cuda.set_device(task.device)
    store = TCPStore(task.address, task.port, is_master=False)
    dist.init_process_group(_backend(task.device), store=store, rank=rank, world_size=world_size)


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
        dist.init_process_group(_backend(device), store=HashStore(), rank=0, world_size=1)


def _backend(device: str) -> str:
    """The process group's backend for tensors on ``device`` and on the CPU."""
    return "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
