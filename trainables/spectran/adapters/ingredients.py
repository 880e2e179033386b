"""The inputs that the adapters of a trial are made from, and what several adapters compute from them."""

from dataclasses import dataclass

import numpy as np
import torch

from trainables.data.sequences import Sequences
from trainables.data.splits import Rows, seen_items
from trainables.seqrec.text import mapped, mean_length
from trainables.spectran.spectrum import has_text, spectrum
from trainables.storage.stages import StageResult, Stages


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """The inputs of an adapter's ``make``, alike for all adapters."""

    dim: int
    """D, columns of an item vector."""
    text: StageResult
    """The text stage: ``vectors``, float32 (I, V), row 0 (padding) zero."""
    sequences: Sequences
    """All interactions."""
    train: Rows
    """The training rows."""
    stages: Stages
    """Store of the results that trials share, computed once."""
    generator: torch.Generator
    """Draws the initial weights."""

    @property
    def text_vectors(self) -> torch.Tensor:
        """The text vectors (I, V), mapped from the stage: never to be written."""
        return mapped(self.text["vectors"])

    def scale_to(self, length: float) -> float:
        """The factor that gives the text vectors this mean length."""
        return length / mean_length(self.text["vectors"])

    def coordinates(self, columns: int, *, whitened: bool = False) -> np.ndarray:
        """The text's first principal coordinates, (I, columns): U_d Sigma_d, or U_d sqrt(N), of unit variance over the
        N items with text; zero for all others.
        """
        result = self.stages.get(spectrum, {"text": self.text, "center": True, "normalise": False})
        scale: np.ndarray | np.float32 = result["singular_R"][:columns]
        if whitened:
            scale = np.float32(np.sqrt(has_text(self.text["vectors"]).sum()))
        coordinates_IC: np.ndarray = first_columns(result["left_IR"], columns) * scale
        return coordinates_IC


def first_columns(table_IR: np.ndarray, columns: int) -> np.ndarray:
    """A copy of the first columns.

    Raises:
        ValueError: there are fewer.
    """
    if columns > table_IR.shape[1]:
        raise ValueError(
            f"dim must be at most the rank of the text vectors, but got dim {columns} and rank {table_IR.shape[1]}; "
            "lower dim or use wider text vectors (data.text, data.text_width)"
        )
    return np.array(table_IR[:, :columns])


def last_rows(train: Rows) -> np.ndarray:
    """The row of each user that ends last, in the users' order: it has the longest history."""
    order = np.lexsort((train.stop_N, train.user_N))
    user_N = train.user_N[order]
    last_U: np.ndarray = order[np.append(user_N[1:] != user_N[:-1], np.ones(min(len(order), 1), bool))]
    return last_U


def item_counts(sequences: Sequences, train: Rows) -> np.ndarray:
    """Count each item among the users' items up to their last training target, itself included: int64 (I,)."""
    rows = train.take(last_rows(train))
    met = np.concatenate([seen_items(sequences, rows).items, rows.target_N])
    return np.bincount(met, minlength=sequences.num_items)
