"""`.npy` files of anybody: whole ones are mapped, all others are one kind of error."""

from pathlib import Path

import numpy as np
import pytest

from trainables.storage.arrays import open_array

FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"


def file_with(path: Path, header: str, body: bytes = bytes(640), version: bytes = b"\x01\x00") -> Path:
    """A `.npy` file with any header."""
    text = header.encode("latin1").ljust(53) + b"\n"
    path.write_bytes(b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + body)
    return path


@pytest.mark.parametrize("shape", [(40, 4), (4, 40), (160,), (40, 2, 2)])
def test_a_whole_file_is_mapped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = open_array(file_with(tmp_path / "a.npy", FLOATS % (shape,)))
    assert array.shape == shape
    assert not array.flags.writeable


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (FLOATS % "(40, -1)", "memory mapped length must be positive"),
        (FLOATS % "(-40, -4)", "its header names|negative"),
        (FLOATS % "(40, 99999999999999999999)", "its header names no array: Python int too large"),
        (FLOATS % "(40, 4611686018427387904)", "array is too big"),
        (FLOATS % "(40, 1000000000)", "mmap length is greater than file size"),
        (FLOATS % "(True, True)", "its header names no array: an integer is required"),
        (FLOATS % "(40, 3)", r"its header names \d+ bytes, but it has \d+"),
        (FLOATS % "40", "shape is not valid: 40"),
        (FLOATS.replace("<f4", "<f2") % "(40, 4)", r"its header names \d+ bytes, but it has \d+"),
        (FLOATS.replace("<f4", "|O") % "(40, 4)", "Python objects in dtype"),
        (FLOATS.replace("<f4", "|S0") % "(4000000000, 4000000000)", "its header names"),
        ("[" * 5000, "its header names no array: .*EOF in multi-line statement"),
        ("(" * 900 + ")" * 900, "Cannot parse header"),
        ("{'descr': '''", "its header names no array: .*EOF in multi-line string"),
        ("__import__('os').abort()", "malformed node or string"),
    ],
)
def test_a_forged_header_is_one_kind_of_error(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_array(file_with(tmp_path / "a.npy", header))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
        b"PK\x03\x04" + bytes(99),
        b"\x80\x04cos\nabort\n(tR.",
    ],
    ids=["empty", "torn", "long", "zip", "pickle"],
)
def test_another_kind_of_file_is_the_same_kind_of_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        open_array(tmp_path / "a.npy")


def test_a_longer_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 2)))
    with (tmp_path / "a.npy").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ValueError, match="its header names 192 bytes, but it has 193"):
        open_array(tmp_path / "a.npy")
