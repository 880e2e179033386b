"""Precision of float32 matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from trainables.seqrec.config import Matmul


@contextmanager
def matmul_precision(precision: Matmul) -> Iterator[None]:
    """Multiply float32 matrices at ``precision`` inside, as before outside (``torch.set_float32_matmul_precision``)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
