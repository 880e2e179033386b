"""Precision of matrix products: inside as asked, outside as before."""

import pytest
import torch

from trainables.seqrec.config import Matmul
from trainables.seqrec.precision import matmul_precision


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision_holds_inside_alone_whatever_ends_it(precision: Matmul) -> None:
    def fail() -> None:
        with matmul_precision(precision):
            seen.append(torch.get_float32_matmul_precision())
            raise KeyError

    before, seen = torch.get_float32_matmul_precision(), list[str]()
    with pytest.raises(KeyError):
        fail()
    assert seen == [precision]
    assert torch.get_float32_matmul_precision() == before


def test_medium_rounds_factors_to_bfloat16_at_most() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(256, 384, generator=generator), torch.randn(384, 256, generator=generator)
    exact = left.double() @ right.double()
    with matmul_precision("medium"):
        error = (left @ right - exact).abs() / (left.abs().double() @ right.abs().double())
    assert error.max() < 2 * 2**-8  # two factors, each off by half a unit of the eighth bit at most, and the sum
