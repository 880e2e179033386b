"""Writes to a disk that takes a part only, or none."""

import io
from typing import Any

import numpy as np
import pytest

from trainables.disk import is_full, write_all


class Narrow(io.RawIOBase):
    """Takes three bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: Any) -> int:
        self.taken += bytes(data[:3])
        return len(data[:3])


@pytest.mark.parametrize("data", [b"", b"a torn journal", np.arange(5.0)], ids=["nothing", "bytes", "numbers"])
def test_all_is_written_though_each_write_takes_a_part(data):
    stream = Narrow()
    write_all(stream, data)
    assert stream.taken == bytes(data)


def test_a_full_disk_is_told_from_another_error(small_disk, fill):
    disk = small_disk(1)
    fill(disk)
    with (disk / "more").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left") as caught:
        write_all(stream, b"x")
    assert is_full(caught.value)
    assert not is_full(FileNotFoundError(2, "No such file or directory"))
