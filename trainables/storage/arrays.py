"""Arrays in `.npy` files, which may come from anybody: memory-mapped, never unpickled, and refused unless whole."""

import tokenize
from pathlib import Path

import numpy as np

from trainables.exceptions import first_line


def open_array(path: Path) -> np.memmap:
    """The read-only array of a `.npy` file, memory-mapped.

    Raises:
        ValueError: the file is no such array, or is longer or shorter than its header says.
        OSError: it cannot be read.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ArithmeticError, TypeError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError) as error:
        raise ValueError(f"its header names no array: {first_line(error)}") from error  # numpy evaluates a literal
    size, named = path.stat().st_size, array.offset + array.nbytes
    if size != named:  # a header whose shape or type was changed would give other numbers
        raise ValueError(f"its header names {named} bytes, but it has {size}")
    return array
