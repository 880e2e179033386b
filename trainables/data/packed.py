"""Many strings as two arrays, so that trials share them through memory-mapped files."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class Packed(Sequence[str]):
    """A read-only list of strings, decoded one by one when asked for.

    Args:
        content: uint8, the UTF-8 bytes of all strings one after another.
        ends: int64 (n,), where each string ends in ``content``.
    """

    def __init__(self, content: np.ndarray, ends: np.ndarray) -> None:
        self.content = content
        self.ends = ends

    @classmethod
    def of(cls, strings: Iterable[str]) -> "Packed":
        """Pack ``strings``."""
        encoded = [string.encode() for string in strings]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:
        content, start = bytes(self.content), 0
        for end in self.ends.tolist():
            yield content[start:end].decode()
            start = end

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        start = self.ends[position - 1] if position else 0
        return bytes(self.content[start : self.ends[position]]).decode()
