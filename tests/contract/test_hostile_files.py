"""Mutated files: a reader refuses them in its own words, and never gives other numbers."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.fuzzing import Reader, attempt, fuzz
from tests.readers import readers

EXAMPLES = 12
"""Per reader, the same ones each time; ``python -m tests.benchmarks.fuzz`` tries some thousand others."""


@pytest.mark.parametrize("name", readers())
def test_a_reader_takes_what_is_valid_and_refuses_or_reads_rightly_what_is_not(name: str) -> None:
    reader = readers()[name]()
    assert all(attempt(reader, content) for content in reader.valid)
    fuzz(reader, EXAMPLES)


def _silent(content: bytes, folder: Path) -> None:
    read, right = int(content[:9]), int(content)
    assert read == right


@pytest.mark.parametrize(
    ("reader", "error"),
    [
        (Reader([b"12", b"345"], (ValueError,), _silent), AssertionError),
        (Reader([b"12"], (UnicodeDecodeError,), lambda content, folder: int(content.decode())), ValueError),
        (Reader([b"12"], (ZeroDivisionError,), lambda content, folder: content == b"12" or 1 / 0), None),
    ],
    ids=["other numbers", "traceback", "refusal"],
)
def test_a_planted_fault_is_found(reader: Reader, error: type[Exception] | None) -> None:
    with pytest.raises(error) if error else nullcontext():
        fuzz(reader, 100)
