"""The files of a pre-trained language model, and its facts before it is loaded. No torch."""

import functools
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from trainables.exceptions import first_line
from trainables.language.model_files import SourceError, open_tokenizer, read_json, refuse_weights
from trainables.storage import cache

__all__ = ["CONFIG", "TOKENIZER", "SourceError", "depth_problem", "family_problem", "model_file", "problem"]

CONFIG, TOKENIZER = "config.json", "tokenizer.json"

FAMILIES = ("llama", "qwen2", "qwen3")
"""Model types whose layers are known to be full causal attention and to hand ``layer_masks`` down."""

_ANSWER_S = 10.0
_REACH_S = 4.0
"""Seconds within which a hub, or the proxy before it, takes a connection. Its own client tries for half a minute."""
_SAME_S = 60.0
"""Seconds until a hub that failed to give a file is asked again."""


def model_file(path: str, name: str) -> Path:
    """The file ``name`` of a model, downloaded where it is needed for the first time.

    Args:
        path: a folder, s3://bucket/prefix, or a name on the hub.
        name: such as ``config.json``.

    Raises:
        SourceError: the folder or the file is not there; the hub can not be reached or refuses.
    """
    folder = cache.fetch(path)
    if folder.is_dir():
        if not (folder / name).is_file():
            raise SourceError(
                f"llm.path: a model's folder must hold {name}, but {folder} has none; save the model and its fast "
                "tokenizer there with save_pretrained"
            )
        return folder / name
    if folder.is_absolute() or path.startswith((".", "~")) or path.count("/") > 1:
        raise SourceError(
            f"llm.path: must be a folder or a name on the hub, but {path!r} is no folder here; correct the path"
        )
    file = _from_hub(path, name, int(time.monotonic() / _SAME_S))
    if isinstance(file, str):
        raise SourceError(file)
    return file


def read_config(path: str) -> dict[str, Any]:
    """The model's ``config.json``.

    Raises:
        SourceError: it can not be had, is no JSON, or names code.
    """
    config = read_json(model_file(path, CONFIG))
    code = [f"{key}: {value}" for key, value in config.items() if key.endswith("_implementation") and "/" in str(value)]
    if code:  # transformers would fetch it from the hub and run it
        raise SourceError(f"llm.path: {CONFIG} must name no code, but {path} has {code[0]}; remove that line")
    return config


def problem(path: str, num_layers: int) -> str | None:
    """Say why the model at ``path`` can not serve a config with ``num_layers``, or None."""
    try:
        config = read_config(path)
        tokenizer = model_file(path, TOKENIZER)
        wrong = family_problem(config.get("model_type"), config.get("layer_types") or ()) or depth_problem(
            path, num_layers, config.get("num_hidden_layers")
        )
        if wrong is None and (folder := cache.fetch(path)).is_dir():
            refuse_weights(folder)
            open_tokenizer(tokenizer)
    except SourceError as error:
        return str(error)
    return wrong


def family_problem(model_type: object, layer_types: object) -> str | None:
    """Say why a model of this type cannot take one mask per layer, or None."""
    if model_type not in FAMILIES:
        return (
            f"llm.path: must name a model of type {', '.join(FAMILIES)}, whose layers take a mask each, but got "
            f"{model_type!r}; choose another model"
        )
    kinds = layer_types if isinstance(layer_types, list | tuple) else [layer_types]
    others = sorted({str(kind) for kind in kinds if kind != "full_attention"})
    if others:
        return (
            f"llm.path: every layer must have full attention, but got {', '.join(others)}; choose a model without "
            f"windows, or switch them off in its {CONFIG}"
        )
    return None


def depth_problem(path: str, num_layers: int, actual: object) -> str | None:
    """Say that a model is not as deep as its config says, or None."""
    if actual == num_layers:
        return None
    return (
        f"llm.num_layers: must be the number of the model's layers, but got {num_layers} and {path} has {actual}; "
        f"write llm.num_layers: {actual}"
    )


@functools.lru_cache(maxsize=32)
def _from_hub(name: str, wanted: str, turn: int) -> Path | str:
    """The file, or why it is not to be had, asked for once in a ``turn``."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(name, wanted) if name.count("/") <= 1 else None
    if isinstance(cached, str):
        return Path(cached)
    if unreached := _hub_problem(turn):
        rule = f"llm.path: must be a folder or a name on the hub that can be reached, but for {name!r} {unreached}"
        return f"{rule}; connect this machine, set HF_ENDPOINT to a mirror, or save the model to a folder"
    try:
        return Path(hf_hub_download(name, wanted, etag_timeout=_ANSWER_S))
    except Exception as error:  # the hub's client has many kinds: no such name, no access, no network
        return (
            f"llm.path: must be a folder or a name on the hub that can be reached, but {wanted} of {name!r} can not be "
            f"had ({first_line(error)}); correct the name, log in where access is asked for, or save the model to a "
            "folder"
        )


@functools.lru_cache(maxsize=1)
def _hub_problem(turn: int) -> str | None:
    """Say that no connection to the hub is to be had, in a few seconds and once in a ``turn``, or None."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:  # its client then asks nobody
        return None
    address = urlsplit(constants.ENDPOINT)
    proxy = None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)
    there = urlsplit(proxy) if proxy else address
    found: list[str] = []

    def connect() -> None:
        try:
            port = there.port or (443 if there.scheme == "https" else 80)
            socket.create_connection((there.hostname or "", port), _REACH_S).close()
            found.append("")
        except OSError as error:
            found.append(f" ({first_line(error)})")

    asking = threading.Thread(target=connect, daemon=True)  # a name server may take longer than any limit of ours
    asking.start()
    asking.join(_REACH_S)
    reason = found[0] if found else f" within {_REACH_S:.0f} s"
    return f"{there.geturl()} does not answer{reason}" if reason else None
