"""How often pairs of an item's or of two items' tokens meet in the training data (§3).

A pair is two token numbers without order, of two tokens in one row's history. The mean number of its meetings is the
number of pairs over the number of different ones. The first follows from how many tokens the items have; the second
from which items meet, since one row of bits a token takes all that a token meets at once, however often.
"""

import numpy as np
import torch

from trainables.data.rows import Rows
from trainables.language.prompts import Prompts

AT_ONCE = 256
"""Items whose tokens are asked for at once."""

PAIRS_AT_ONCE = 2**22
"""Pairs of items in rows that are held at once, beside the distinct ones."""


def cooccurrence(prompts: Prompts, rows: Rows) -> np.ndarray:
    """How often a pair of tokens that is met is met, inside an item and across items, (2,); NaN where there is none.

    It grows with the number of rows, so that only the same rows compare. Histories count whole, also where
    ``prompt.max_tokens`` cuts the prompt; slots count as no tokens, nor do separators.

    Args:
        prompts: say which tokens an item has.
        rows: all that are counted. One bit is held for each two of their distinct tokens: 50 MB for 20,000.
    """
    items, place = np.unique(np.append(rows.history_NL, 0), return_inverse=True)
    place_NL = place[:-1].reshape(rows.history_NL.shape)  # 0 is padding
    tokens_I = [np.zeros(0, np.int64), *_tokens(prompts, items[1:])]
    size_I = np.array([len(own) for own in tokens_I])
    vocabulary, number = np.unique(np.concatenate(tokens_I), return_inverse=True)
    token_IT = np.full((len(items), max(size_I)), len(vocabulary))  # what is no token has the number after the last
    token_IT[np.arange(token_IT.shape[1]) < size_I[:, None]] = number
    inside = _pairs(size_I)[place_NL].sum()
    across = _pairs(size_I[place_NL].sum(axis=1)).sum() - inside
    within, itself = _met(token_IT, [np.array([item]) for item in range(len(items))], len(vocabulary))
    held, times = np.unique(np.repeat(np.arange(len(items)), size_I) * len(vocabulary) + number, return_counts=True)
    twice = len(np.unique(held[times > 1] % len(vocabulary)))  # tokens that meet themselves inside an item
    apart, alike = _met(token_IT, _neighbours(place_NL, len(items)), len(vocabulary))
    distinct = np.array([(within - itself) // 2 + twice, (apart - alike) // 2 + alike])
    times_2: np.ndarray = np.divide([inside, across], distinct, out=np.full(2, np.nan), where=distinct > 0)
    return times_2


def _pairs(count: np.ndarray) -> np.ndarray:
    pairs: np.ndarray = count * (count - 1) // 2
    return pairs


def _tokens(prompts: Prompts, items: np.ndarray) -> list[np.ndarray]:
    """The token numbers (int64) of each item."""
    tokens_I: list[np.ndarray] = []
    for start in range(0, len(items), AT_ONCE):
        prompt = prompts(torch.from_numpy(items[start : start + AT_ONCE, None].astype(np.int64)))
        own_BT = prompt.spans.item_BT > 0
        if prompt.slot_BT is not None:
            own_BT &= prompt.slot_BT == 0
        tokens_I += [token_T[own_T].numpy() for token_T, own_T in zip(prompt.token_BT, own_BT, strict=True)]
    return tokens_I


def _neighbours(place_NL: np.ndarray, items: int) -> list[np.ndarray]:
    """Which items each item meets in some row, itself where it comes twice; padding, 0, meets none."""
    rows, length = place_NL.shape
    first_P, second_P = np.triu_indices(length, 1)
    met = np.zeros(0, np.int64)
    at_once = PAIRS_AT_ONCE // max(1, len(first_P)) + 1
    for start in range(0, rows, at_once):
        one_NP, other_NP = (place_NL[start : start + at_once, at_P] for at_P in (first_P, second_P))
        real_NP = (one_NP > 0) & (other_NP > 0)
        low, high = np.minimum(one_NP, other_NP)[real_NP], np.maximum(one_NP, other_NP)[real_NP]
        met = _distinct(np.concatenate([met, low * items + high]))
    both = _distinct(np.concatenate([met, met % items * items + met // items]))
    return np.split(both % items, np.searchsorted(both // items, np.arange(1, items)))


def _distinct(number: np.ndarray) -> np.ndarray:
    """As ``np.unique``, which takes many times as long for numbers of this kind."""
    ordered = np.sort(number)
    distinct: np.ndarray = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return distinct


def _met(token_IT: np.ndarray, neighbours: list[np.ndarray], num_tokens: int) -> tuple[int, int]:
    """How many ordered pairs of a token and one that it meets there are, and how many of a token with itself.

    Args:
        token_IT: numbers of each item's tokens, below ``num_tokens``; ``num_tokens`` stands for none.
        neighbours: of each item, the items whose tokens its own meet; they name it as well.
        num_tokens: distinct tokens.
    """
    met = np.zeros((num_tokens + 1, num_tokens // 8 + 1), np.uint8)  # bits
    for own_T, others in zip(token_IT, neighbours, strict=True):
        read = np.zeros(num_tokens + 1, bool)
        read[token_IT[others]] = True
        read[num_tokens] = False
        met[own_T] |= np.packbits(read)
    at = np.arange(num_tokens)
    itself = met[at, at // 8] >> (7 - at % 8) & 1
    return int(np.bitwise_count(met[:num_tokens]).sum()), int(itself.sum())
