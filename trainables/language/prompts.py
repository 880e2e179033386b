"""Prompts (Table 1): the titles of a data set as tokens, once, and histories put together from them.

Every piece of a prompt (instruction, quote, title, separator, response header) is tokenised by itself, so that no token
crosses the border of an item; a tokenizer run over the whole text could merge a quote with a title's first letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from trainables.data.atomic import DataError
from trainables.data.packed import Packed
from trainables.language.masks import Spans
from trainables.language.model_files import open_tokenizer
from trainables.storage.stages import Arrays, stage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ItemTokens = Literal["title", "quoted", "separated"]

QUOTE, SEPARATOR = '"', ", "


def header(noun: str, verb: str) -> str:
    """The text before the history: Table 1 under Alpaca's headers, without the sentence that opens Alpaca's frame.

    Table 1 asks for "a new movie"; ``noun`` is a plural, so this asks for "a new one".
    """
    return (
        f"### Instruction:\nGiven a list of {noun} the user has {verb} before, please recommend a new one that the "
        f"user likes to the user.\n\n### Input:\nThe user has {verb} the following {noun} before: "
    )


RESPONSE = "\n\n### Response:\n"
"""The text after the history. The state of its last token predicts the next item."""


@dataclass(frozen=True)
class Prompt:
    """B prompts of T tokens, left-padded."""

    token_BT: torch.Tensor
    """int64."""
    spans: Spans
    """Positions of the items."""
    slot_BT: torch.Tensor | None = None
    """int64: the item whose vector takes a token's place, 0 for tokens that stay; None where no token is replaced."""

    def __len__(self) -> int:
        return len(self.token_BT)


@stage(version=2)
def tokenised(
    titles: Mapping[str, np.ndarray], tokenizer: Mapping[str, np.ndarray] | Path, noun: str, verb: str
) -> Arrays:
    """Stage: the pieces of prompts. `tokens` int32, all titles one after another, `ends` int64 (I,) where each ends;
    `header`, `quote`, `separator` and `response`, int32.

    Args:
        titles: the catalogue.
        tokenizer: a `tokenizer.json`, as a file or as the bytes `tokenizer`.
        noun: see :func:`header`.
        verb: see :func:`header`.

    Raises:
        DataError: a title gives no token.
    """
    tool = read_tokenizer(tokenizer)
    texts = list(Packed(titles["titles"], titles["title_ends"]))
    ids = [encoding.ids for encoding in tool.encode_batch(texts, add_special_tokens=False)]
    empty = [item for item, title in enumerate(ids) if item and not title]
    if empty:
        raise DataError(
            f"titles: every item must have a title of one token or more, but {len(empty)} of {len(ids) - 1} have none, "
            f"the first is item {empty[0]} ({texts[empty[0]]!r}); fill the titles or leave these items out"
        )
    pieces = {"header": header(noun, verb), "quote": QUOTE, "separator": SEPARATOR, "response": RESPONSE}
    encoded = {name: tool.encode(text, add_special_tokens=False).ids for name, text in pieces.items()}
    first = tool.encode("", add_special_tokens=True).ids[:1]  # where it has one
    encoded["header"] = first + encoded["header"]
    return {
        "tokens": np.array([token for title in ids for token in title], np.int32),
        "ends": np.cumsum([len(title) for title in ids]).astype(np.int64),
        **{name: np.array(tokens, np.int32) for name, tokens in encoded.items()},
    }


def read_tokenizer(tokenizer: Mapping[str, np.ndarray] | Path) -> "Tokenizer":
    """The tokenizer in a `tokenizer.json`, given as a file or as the bytes `tokenizer`.

    It neither pads nor cuts, whatever was saved with it: a piece of a prompt is as long as it is.
    """
    from tokenizers import Tokenizer

    if isinstance(tokenizer, Path):
        tool = open_tokenizer(tokenizer)
    else:
        tool = Tokenizer.from_str(bytes(np.asarray(tokenizer["tokenizer"])).decode())
    tool.no_padding()
    tool.no_truncation()
    return tool


class Prompts:
    """Puts prompts together.

    Args:
        pieces: what :func:`tokenised` gave.
        item_tokens: whether an item's quotes, or also the separator after it, count as its tokens.
        max_title_tokens: first tokens of a title that are kept.
        max_tokens: longest prompt; its oldest items are left out where it would be longer.
        titles: whether items are written out; without, an item is its slot alone and nothing stands between two.
        slot: whether each item has a token, after its title, whose place an item's vector takes.

    Raises:
        ValueError: a prompt of one item can be longer than ``max_tokens``; neither ``titles`` nor ``slot``.
    """

    def __init__(
        self,
        pieces: Mapping[str, np.ndarray],
        *,
        item_tokens: ItemTokens = "quoted",
        max_title_tokens: int = 32,
        max_tokens: int = 512,
        titles: bool = True,
        slot: bool = False,
    ) -> None:
        if not titles and not slot:
            raise ValueError("a prompt must say what its items are, but has neither titles nor slots; take one of them")
        self._tokens, self._ends = np.array(pieces["tokens"]), np.array(pieces["ends"])
        self._header, self._response = np.array(pieces["header"]), np.array(pieces["response"])
        self._quote = np.array(pieces["quote"]) if titles else self._header[:0]
        self._separator = np.array(pieces["separator"]) if titles else self._header[:0]
        self._slot = np.zeros(1 if slot else 0, np.int32)
        self._item_tokens, self._max_title, self._max_tokens = (
            item_tokens,
            max_title_tokens if titles else 0,
            max_tokens,
        )
        frame = len(self._header) + len(self._response)
        longest = int(np.minimum(np.diff(self._ends, prepend=0), self._max_title).max(initial=0))
        least = frame + 2 * len(self._quote) + longest + len(self._slot)
        if least > max_tokens:
            raise ValueError(
                f"prompt.max_tokens must hold the instruction, one item and the response header, {least} tokens, but "
                f"got {max_tokens}; raise it, or lower prompt.max_title_tokens"
            )

    def __call__(self, history_BL: torch.Tensor) -> Prompt:
        """The prompts of histories.

        Args:
            history_BL: int64 items, oldest first, left-padded with 0.
        """
        rows = [self._row([item for item in history if item]) for history in history_BL.tolist()]
        length = max(len(token_T) for token_T, _, _ in rows)
        token_BT, item_BT, slot_BT = (np.zeros((len(rows), length), np.int64) for _ in range(3))
        real_BT = np.zeros((len(rows), length), bool)
        for row, (token_T, item_T, slot_T) in enumerate(rows):
            start = length - len(token_T)
            token_BT[row, start:], item_BT[row, start:], slot_BT[row, start:] = token_T, item_T, slot_T
            real_BT[row, start:] = True
        next_BT = np.concatenate([item_BT[:, 1:], np.zeros((len(rows), 1), np.int64)], axis=1)
        columns = (token_BT, item_BT, (item_BT > 0) & (item_BT != next_BT), real_BT, slot_BT)
        token, item, last, real, slot = (torch.from_numpy(column).to(history_BL.device) for column in columns)
        return Prompt(token, Spans(item, last, real), slot if len(self._slot) else None)

    def _row(self, items: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens of one prompt, the item that each belongs to (counted from 1) and the item whose slot it is."""
        while (row := self._put_together(items)) is None:
            items = items[1:]
        return row

    def _put_together(self, items: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """One prompt of all ``items``; None where that is too long."""
        parts: list[tuple[np.ndarray, int, int]] = [(self._header, 0, 0)]
        for place, item in enumerate(items, 1):
            quotes = 0 if self._item_tokens == "title" else place
            after = place if self._item_tokens == "separated" else 0
            parts += [(self._quote, quotes, 0), (self._title(item), place, 0), (self._slot, place, item)]
            parts += [(self._quote, quotes, 0)]
            if place < len(items):
                parts += [(self._separator, after, 0)]
        parts += [(self._response, 0, 0)]
        lengths = [len(tokens) for tokens, _, _ in parts]
        if sum(lengths) > self._max_tokens:
            return None
        tokens, places, slots = zip(*parts, strict=True)
        return np.concatenate(tokens), np.repeat(places, lengths), np.repeat(slots, lengths)

    def _title(self, item: int) -> np.ndarray:
        start = self._ends[item - 1]
        return self._tokens[start : min(self._ends[item], start + self._max_title)]
