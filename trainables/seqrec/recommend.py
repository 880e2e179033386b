"""A trained recommender in one file: it scores histories without the data set that it was trained on.

The file is safetensors: tensors and text, so that reading it runs nothing. It holds the model's weights by name, what
scoring needs beside them (``scoring.*``, such as the finished item vectors), and the items' ids and titles.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from trainables.data.batches import Batch
from trainables.data.packed import Packed
from trainables.data.sequences import Sequences
from trainables.seqrec.items import Encoder, Items

FORMAT = "1"
"""Raised whenever what a file holds changes its meaning."""
_SCORING, _CATALOGUE = "scoring.", "catalogue."

Module = TypeVar("Module", bound=nn.Module)
Encode = Callable[[Encoder, torch.Tensor, torch.Tensor], torch.Tensor]
"""See :meth:`Items.encode`."""


class SavedError(ValueError):
    """A file of a trained recommender that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """All that a file of a trained recommender holds."""

    weights: dict[str, torch.Tensor]
    """The model's, by name."""
    scoring: dict[str, torch.Tensor]
    """Tensors that scoring needs beside them, by name."""
    ids: Sequence[str]
    """I ids as the data set has them; the first is padding's."""
    titles: Sequence[str]
    """I titles; the first is padding's."""
    fingerprint: str
    """Of the data set."""

    def part(self, module: Module, prefix: str) -> Module:
        """Fill ``module`` with the weights whose names start with ``prefix``, and put it in evaluation mode.

        Raises:
            SavedError: the file lacks one of them, or has it in another shape.
        """
        named = {name: f"{prefix}{name}" for name in module.state_dict()}
        own = {name: self.weights[full] for name, full in named.items() if full in self.weights}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            rule = "must hold the weights that its config asks for"
            raise SavedError(f"a trained model {rule}, but {error}; train it again with this version") from None
        module.eval()
        return module


class FrozenItems(Items):
    """Item vectors as training left them.

    Args:
        table_IW: the vectors that histories read.
        encode: how a sequence's vectors become its state, where that is the items' own affair.
    """

    def __init__(self, table_IW: torch.Tensor, encode: Encode | None = None) -> None:
        self.num_items, self.width = table_IW.shape
        self._table_IW = table_IW
        self._encode = encode

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        return self._table_IW if index_N is None else self._table_IW[index_N]

    def encode(self, encoder: Encoder, vectors_BLW: torch.Tensor, held_BL: torch.Tensor) -> torch.Tensor:
        """See :meth:`Items.encode`."""
        return self._encode(encoder, vectors_BLW, held_BL) if self._encode else encoder(vectors_BLW)


@dataclass(frozen=True, kw_only=True)
class Recommender:
    """Scores of all items after histories."""

    score: Callable[[Batch], torch.Tensor]
    """From a batch to the scores (B, I) of all items, as in the evaluation of its trial."""
    max_history: int
    """L: older items of a history are not read."""
    device: str = "cpu"

    def scores(self, histories: Sequence[Sequence[int]]) -> torch.Tensor:
        """The scores (B, I) of all items after each history, whose item numbers stand oldest first."""
        history_BL = torch.zeros(len(histories), self.max_history, dtype=torch.int64)
        for row, history in enumerate(histories):
            newest = list(history)[-self.max_history :]
            history_BL[row, self.max_history - len(newest) :] = torch.tensor(newest, dtype=torch.int64)
        none_B = torch.zeros(len(histories), dtype=torch.int64)
        with torch.inference_mode():
            return self.score(Batch(*(part.to(self.device) for part in (history_BL, none_B, none_B))))


def write(
    path: Path, sequences: Sequences, weights: Mapping[str, torch.Tensor], scoring: Mapping[str, torch.Tensor]
) -> None:
    """Write a recommender; see :class:`Saved` for the arguments."""
    from safetensors.torch import save_file

    named = {**weights, **{f"{_SCORING}{name}": tensor.clone() for name, tensor in scoring.items()}}
    for name, packed in (("ids", sequences.ids), ("titles", sequences.titles)):
        packed = packed if isinstance(packed, Packed) else Packed.of(packed)
        named[f"{_CATALOGUE}{name}"] = torch.from_numpy(np.array(packed.content))
        named[f"{_CATALOGUE}{name}_ends"] = torch.from_numpy(np.array(packed.ends))
    path.touch()
    mode = path.stat().st_mode
    about = {"format": FORMAT, "fingerprint": sequences.fingerprint}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}, path, about)
    path.chmod(mode)  # as the files beside it: the library's is for its owner alone


def read(path: Path, device: str = "cpu") -> Saved:
    """Read a recommender.

    Raises:
        SavedError: there is no such file, it is none of ours, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt", device) as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                rule = f"{path}: must be a recommender in format {FORMAT}, but it is in {about.get('format') or 'none'}"
                raise SavedError(f"{rule}; load it with the version that wrote it, or train it again")
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        ids, titles = (
            Packed(named.pop(f"{_CATALOGUE}{name}").cpu().numpy(), named.pop(f"{_CATALOGUE}{name}_ends").cpu().numpy())
            for name in ("ids", "titles")
        )
    except FileNotFoundError:
        rule = f"{path}: must be there to load a trial's model, but is not"
        raise SavedError(f"{rule}; tracking.checkpoints: best keeps it of the best trials, once they end") from None
    except (SafetensorError, KeyError, OSError) as error:
        raise SavedError(f"{path}: must be a whole recommender, but {error!r}; copy it again") from None
    return Saved(
        weights={name: tensor for name, tensor in named.items() if not name.startswith(_SCORING)},
        scoring={n.removeprefix(_SCORING): tensor for n, tensor in named.items() if n.startswith(_SCORING)},
        ids=ids,
        titles=titles,
        fingerprint=about.get("fingerprint", ""),
    )
