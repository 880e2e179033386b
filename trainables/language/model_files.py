"""Files of a pre-trained model's folder, which anybody may have made: bounded, whole, and never code. No torch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.exceptions import first_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS, INDEX, ADAPTER = "model.safetensors", "model.safetensors.index.json", "adapter_config.json"
LARGEST_JSON = 2**24
"""Bytes of a JSON file of a model. A configuration has some KiB, the index of the largest Llama 100 KiB."""
LARGEST_TOKENIZER = 2**28
"""Bytes of a tokenizer: Llama 3's has 17 MB."""

_FLOATS = ("F64", "F32", "F16", "BF16")


class SourceError(ValueError):
    """A language model that can not be had, or not be used here."""


def read_json(file: Path) -> dict[str, Any]:
    """The JSON mapping in a file of a model.

    Raises:
        SourceError: it is none, or too large.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON // 2**20} MiB")
        read = json.loads(content)
        if not isinstance(read, dict):
            raise ValueError(f"it holds {type(read).__name__}, no mapping")
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(
            f"llm.path: {file.name} must be JSON, but {file} is not ({first_line(error)}); save the model again"
        ) from None
    return read


def open_tokenizer(file: Path) -> "Tokenizer":
    """The tokenizer in a `tokenizer.json`.

    Raises:
        SourceError: it is none, or too large.
    """
    from tokenizers import Tokenizer

    try:
        if file.stat().st_size > LARGEST_TOKENIZER:
            raise ValueError(f"it has more than {LARGEST_TOKENIZER // 2**20} MiB")
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises this class itself
        raise SourceError(
            f"llm.path: {file.name} must be a fast tokenizer, but {file} is not ({first_line(error)}); save the "
            "tokenizer again"
        ) from None


def refuse_weights(folder: Path) -> None:
    """Refuse weights that are no whole safetensors files of floats; only their headers are read.

    A pickled `.bin` may hold code, and an adapter's folder leads to another model.

    Raises:
        SourceError: with the first problem.
    """
    if (folder / ADAPTER).exists():
        raise SourceError(
            f"llm.path: must be a whole model, but {folder} has {ADAPTER}; merge the adapter into its model "
            "(merge_and_unload) and save that"
        )
    names: list[Any] = [WEIGHTS]
    if not (folder / WEIGHTS).exists() and (folder / INDEX).exists():
        of_tensor = read_json(folder / INDEX).get("weight_map")
        names = list(of_tensor.values()) if isinstance(of_tensor, dict) else []
    for name in dict.fromkeys(map(str, names or ["no file"])):
        if Path(name).name != name or not (folder / name).is_file():
            raise SourceError(
                f"llm.path: a model's folder must hold its weights as {WEIGHTS}, or in the files that {INDEX} names, "
                f"but {folder} has no {name}; save the model again with save_pretrained"
            )
        _refuse_file(folder / name)


def _refuse_file(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as tensors:  # it compares the header with the file's size
            kinds = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SourceError(
            f"llm.path: weights must be a whole safetensors file, but {file} is not ({first_line(error)}); save or "
            "download the model again"
        ) from None
    if other := [f"{kind} for {name}" for name, kind in kinds.items() if kind not in _FLOATS]:
        raise SourceError(
            f"llm.path: weights must be floats ({', '.join(_FLOATS)}), but {file} has {other[0]}; choose a model that "
            "is not quantised"
        )
