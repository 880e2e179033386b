"""Batches: every row once, in order or shuffled by a generator alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.batches import Batch, batches
from trainables.data.splits import Rows


def rows_of(count: int) -> Rows:
    number = np.arange(count, dtype=np.int32)
    history_NL = np.stack([np.zeros_like(number), number + 1], axis=1)
    return Rows(history_NL, target_N=number + 2, user_N=number, start_N=number.astype(np.int64), stop_N=number + 1)


def joined(parts: list[Batch]) -> tuple[list[list[int]], list[int], list[int]]:
    return (
        [row for part in parts for row in part.history_BL.tolist()],
        [row for part in parts for row in part.target_B.tolist()],
        [row for part in parts for row in part.user_B.tolist()],
    )


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(1, 12), st.none() | st.integers(0, 3))
def test_a_pass_yields_every_row_once_with_its_own_target(count: int, size: int, seed: int | None) -> None:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    parts = list(batches(rows_of(count), size, generator, "cpu"))
    history, target, user = joined(parts)
    assert sorted(user) == list(range(count))
    assert history == [[0, number + 1] for number in user]
    assert target == [number + 2 for number in user]
    assert [len(part) for part in parts] == [size] * (count // size) + [count % size] * (count % size > 0)
    if generator is None:
        assert user == list(range(count))


def test_batches_are_int64_tensors_and_the_rows_stay_as_they_are() -> None:
    rows = rows_of(5)
    batch = next(iter(batches(rows, 3)))
    assert {batch.history_BL.dtype, batch.target_B.dtype, batch.user_B.dtype} == {torch.int64}
    batch.history_BL.zero_()
    assert rows.history_NL[0, 1] == 1


def test_the_generator_alone_decides_the_order() -> None:
    def order(generator: torch.Generator) -> list[int]:
        return joined(list(batches(rows_of(50), 7, generator)))[2]

    torch.manual_seed(1)
    first = order(torch.Generator().manual_seed(5))
    torch.manual_seed(2)
    generator = torch.Generator().manual_seed(5)
    assert order(generator) == first
    assert order(generator) != first
    assert first != list(range(50))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_live_on_the_device() -> None:
    batch = next(iter(batches(rows_of(5), 3, torch.Generator().manual_seed(0), "cuda:0")))
    assert batch.history_BL.device == torch.device("cuda:0")
