"""Every random draw of a trial comes from a generator named here: a seed and what it is for.

Nothing is carried from one epoch to the next, so a resumed trial draws what an unbroken one would have drawn.
"""

import hashlib

import torch


def seed_for(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and ``purpose`` alone, e.g. ``seed_for(0, "epoch", 3)``."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, *purpose: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator on ``device``, seeded with :func:`seed_for`."""
    return torch.Generator(device=device).manual_seed(seed_for(seed, *purpose))
