"""Errors of a trial's code are told apart, whatever wraps them."""

import errno
import re
from pathlib import Path

import pytest
import torch

from trainables.runtime.failure import classify, describe
from trainables.trial import LocalTrial

HERE = "tests/worker/runtime/test_failure.py"


class OutOfMemoryError(Exception):
    """As Ray's and torch's are called."""


def wrapped(cause: BaseException) -> Exception:
    try:
        try:
            raise cause
        except BaseException as error:
            raise ValueError("the step failed") from error
    except ValueError as error:
        return error


def allocation() -> RuntimeError:
    """Torch's error where the host has not that much memory."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "out of memory"),
        (RuntimeError("Task was killed due to the node running low on memory."), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk full"),
        (OSError(errno.EFBIG, "File too large"), "disk full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk full"),
        (FloatingPointError("the training loss must stay finite"), "non-finite objective"),
        (ValueError("no"), "exception"),
        (OSError(errno.ENOENT, "No such file or directory"), "exception"),
        (SystemExit(0), "exception"),
    ],
)
def test_an_error_has_a_class_of_its_own_and_what_it_causes_has_the_same(error: BaseException, reason: str) -> None:
    assert classify(error) == reason
    assert classify(wrapped(error)) == reason


def test_memory_that_the_host_has_not_is_told_as_such() -> None:
    assert classify(allocation()) == "out of memory"


def test_an_error_whose_cause_was_cut_on_purpose_stands_for_itself() -> None:
    error = ValueError("bad value")
    error.__context__, error.__suppress_context__ = MemoryError(), True
    assert classify(error) == "exception"
    error.__suppress_context__ = False
    assert classify(error) == "out of memory"


def test_errors_that_cause_each_other_are_looked_at_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert classify(one) == "exception"


def test_the_traceback_is_an_artifact_and_the_text_is_bounded(tmp_path: Path) -> None:
    trial = LocalTrial(tmp_path)
    try:
        raise ValueError("x" * 5000)
    except ValueError as error:
        reason, text = describe(error, trial)
    assert reason == "exception"
    assert re.fullmatch(rf"ValueError: x{{1988}} \.\.\. \({HERE}:\d+\)", text)
    assert "test_the_traceback_is_an_artifact" in (tmp_path / "artifacts" / "traceback.txt").read_text()


class UnsayableError(Exception):
    """An author's exception that cannot say what it is."""

    def __str__(self) -> str:
        raise KeyError("no text")


def test_an_error_that_cannot_say_its_text_is_told_all_the_same(tmp_path: Path) -> None:
    assert describe(UnsayableError(), LocalTrial(tmp_path)) == (
        "exception", "UnsayableError: (its text raises KeyError)",
    )  # fmt: skip
    assert re.fullmatch(rf"ValueError: the step failed \({HERE}:\d+\)", describe(wrapped(UnsayableError()), None)[1])


def test_a_secret_in_an_error_is_hidden_in_its_text_and_its_traceback(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "hf_abcdef0123456789")
    trial = LocalTrial(tmp_path)
    try:
        raise OSError("401 for https://me:pass1@hub.example/x with hf_abcdef0123456789")
    except OSError as error:
        _, text = describe(error, trial)
    traceback = (tmp_path / "artifacts" / "traceback.txt").read_text()
    assert re.fullmatch(rf"OSError: 401 for https://\*{{3}}@hub.example/x with \*{{3}} \({HERE}:\d+\)", text)
    assert traceback.endswith(f"{text.rpartition(' (')[0]}\n")
