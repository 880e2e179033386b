"""Mutations of valid files, and the rule that every reader keeps.

A reader refuses a file by an error of its own, or gives the numbers that a plain second reading of the file gives. The
suite tries a few mutations per reader, ``python -m tests.benchmarks.fuzz`` as many as fit in some minutes.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

TOKENS = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud800", b"\\u0000", b"\t", b"\n", b"\r", b"\n\n", b" ", b"[",
    b"]", b"{", b"}", b"(", b")", b"'", b'"', b",", b":", b": ", b"- ", b"#", b"&a ", b"*a", b"!!int ", b"!x ",
    b"<<: *a", b"|", b"?", b"%", b"-", b".", b"0", b"-1", b"1e999", b"NaN", b"Infinity", b".inf", b"9" * 30,
    b"9" * 5000, b"0x", b"1_0", b"null", b"None", b"true", b"[" * 400, b"{'a':" * 200, b"&amp;amp;", b"<br>", b"nan",
)  # fmt: skip
"""Pieces that readers trip over."""


LETTERS = "0123456789abeunxB.-_: \t\n"
"""Letters that leave many files valid, with something else in them."""

_SPREAD = 2_654_435_761


@st.composite
def damaged(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """One of the files with one to four mutations: bytes and tokens changed, cut, copied or moved."""
    content = draw(st.sampled_from(valid))
    for _ in range(draw(st.sampled_from((1, 1, 2, 4)))):
        start = draw(st.integers(0, 2**31)) * _SPREAD % (len(content) + 1)  # else most would hit the first line
        end = min(len(content), start + draw(st.integers(0, 24)))
        match draw(st.sampled_from(("token", "letter", "letter", "byte", "bit", "drop", "copy", "line", "cut"))):
            case "token":
                content = content[:start] + draw(st.sampled_from(TOKENS)) + content[end:]
            case "letter" if start < len(content):
                content = content[:start] + draw(st.sampled_from(LETTERS)).encode() + content[start + 1 :]
            case "byte":
                content = content[:start] + draw(st.binary(min_size=1, max_size=4)) + content[end:]
            case "bit" if start < len(content):
                changed = bytes([content[start] ^ 1 << draw(st.integers(0, 7))])
                content = content[:start] + changed + content[start + 1 :]
            case "drop":
                content = content[:start] + content[end:]
            case "copy":
                there = draw(st.integers(0, len(content)))
                content = content[:there] + content[start:end] + content[there:]
            case "line":
                lines = content.splitlines(keepends=True)
                if lines:
                    lines.insert(draw(st.integers(0, len(lines))), lines.pop(draw(st.integers(0, len(lines) - 1))))
                content = b"".join(lines)
            case "cut":
                content = content[:start]
    return content


@dataclass(frozen=True)
class Reader:
    """A reader, valid files for it, and one try."""

    valid: Sequence[bytes]
    refusals: tuple[type[Exception], ...]
    """Errors of its own."""
    read: Callable[[bytes, Path], object]
    """Read a file of this content in an empty folder; an assertion fails where it gives other numbers."""


def attempt(reader: Reader, content: bytes) -> bool:
    """Read one file; returns True if it was taken."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            reader.read(content, Path(folder))
        except reader.refusals as error:
            refusal = str(error).strip()
        else:
            return True
    assert refusal, "a refusal must say something"
    return False


def fuzz(reader: Reader, examples: int, number: int | None = None) -> None:
    """Try that many mutations: always the same ones, or those of the round of that number.

    Raises:
        Exception: what the reader raised, with the shortest such file as hypothesis tells it.
    """

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=number is None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(content=damaged(reader.valid))
    def one(content: bytes) -> None:
        attempt(reader, content)

    if number is not None:
        one = seed(number)(one)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        one()
    finally:
        logging.disable(before)
