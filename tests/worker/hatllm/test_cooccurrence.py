"""Counts of token pairs in training rows, against a count pair by pair."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from tests.worker.hatllm.test_diagnostics import HISTORIES, ITEMS, prompts, rows_of
from trainables.hatllm import cooccurrence as module
from trainables.hatllm.cooccurrence import cooccurrence
from trainables.language.prompts import Prompts


def counted(histories, tokens_of):
    """The mean number of meetings of a pair, inside an item and across items, by brute force."""
    met: tuple[Counter, Counter] = Counter(), Counter()
    for history in histories:
        tokens = [(token, at) for at, item in enumerate(history) if item for token in tokens_of[item]]
        for (token1, at1), (token2, at2) in combinations(tokens, 2):
            met[at1 != at2][tuple(sorted((token1, token2)))] += 1
    return [np.mean([*kind.values()]) if kind else np.nan for kind in met]


def pieces_of(tokens_of):
    titles = [tokens_of[item] for item in range(1, len(tokens_of) + 1)]
    frame = {"header": [1], "quote": [], "separator": [2], "response": [3]}
    ends = np.cumsum([0, *map(len, titles)])  # of padding and items
    return {"tokens": np.concatenate(titles), "ends": ends, **{name: np.array(t, int) for name, t in frame.items()}}


def test_cooccurrence_is_how_often_a_pair_that_is_met_is_met():
    np.testing.assert_allclose(cooccurrence(prompts, rows_of(HISTORIES)), counted(HISTORIES, ITEMS))


@pytest.mark.parametrize("at_once", [1, 2**22])
def test_repeated_tokens_items_and_rows_count_and_padding_does_not(at_once, monkeypatch):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(module, "AT_ONCE", 5)
    random = np.random.default_rng(0)
    tokens_of = {item: random.integers(4, 30, random.integers(1, 7)).tolist() for item in range(1, 13)}
    history_NL = random.integers(1, 13, (40, 5))
    history_NL[::3, :2] = 0
    found = cooccurrence(Prompts(pieces_of(tokens_of)), rows_of(history_NL))
    np.testing.assert_allclose(found, counted(history_NL.tolist(), tokens_of))
    twice = cooccurrence(Prompts(pieces_of(tokens_of)), rows_of(np.concatenate([history_NL, history_NL])))
    np.testing.assert_allclose(twice, 2 * found)


def test_slots_are_no_tokens_and_where_there_is_no_other_nothing_meets():
    tokens_of = {1: [5, 6, 5], 2: [6, 7]}
    histories = [[1, 2], [2, 2]]
    with_slots = cooccurrence(Prompts(pieces_of(tokens_of), slot=True), rows_of(histories))
    np.testing.assert_allclose(with_slots, counted(histories, tokens_of))
    assert np.isnan(cooccurrence(Prompts(pieces_of(tokens_of), titles=False, slot=True), rows_of(histories))).all()


def test_a_history_of_one_item_has_no_pair_across_items():
    inside, across = cooccurrence(Prompts(pieces_of({1: [5, 6, 5]})), rows_of([[1]]))
    assert inside == 1.5
    assert np.isnan(across)
