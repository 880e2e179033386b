"""Figure 2: where attention goes, how far apart tokens are, how often they meet."""

import csv
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from tests.worker.hatllm_models import prompt_of, random_model
from trainables.data.rows import Rows, Splits
from trainables.hatllm.diagnostics import attention, distance, write_diagnostics
from trainables.hatllm.head import LinearHead
from trainables.hatllm.parts import Method
from trainables.hatllm.reader import LastToken
from trainables.hatllm.recommender import Recommender
from trainables.language.attention import use_layered
from trainables.trial import LocalTrial

ITEMS = {1: [5, 6], 2: [7, 8, 5], 3: [9]}


def _prompts(history_BL):
    """The history's items as their tokens, a separator (3) between two, 2 before and 4 after."""
    rows = []
    for history in history_BL.tolist():
        row = [(2, 0)]
        for place, item in enumerate([item for item in history if item], 1):
            row += [(3, 0)] * (place > 1) + [(token, place) for token in ITEMS[item]]
        rows.append([*row, (4, 0)])
    return prompt_of(*rows)


prompts: Any = _prompts
HISTORIES = [[0, 1, 2], [3, 2, 1], [0, 0, 2], [1, 1, 3]]


def rows_of(histories):
    count = np.arange(len(histories))
    ones = np.ones(len(histories), np.int32)
    return Rows(history_NL=np.array(histories, np.int32), target_N=ones, user_N=ones, start_N=count, stop_N=count)


def made_of(plan):
    model = random_model(layers=len(plan))
    use_layered(model)
    head = LinearHead(4, 32, generator=torch.Generator().manual_seed(0))
    return Method(prompts, Recommender(model, plan=plan, reader=LastToken(32), head=head).eval())


def pairs():
    """Every pair of item tokens of the histories: distance, token numbers, whether of one item."""
    for history in HISTORIES:
        tokens, at = [], 1
        for place, item in enumerate([item for item in history if item]):
            at += place > 0
            for token in ITEMS[item]:
                tokens.append((at, token, place))
                at += 1
        for (at1, token1, place1), (at2, token2, place2) in combinations(tokens, 2):
            yield at2 - at1, tuple(sorted((token1, token2))), place1 == place2


def test_attention_of_item_tokens_is_split_into_four_that_add_up():
    with torch.inference_mode():
        shares, weights = attention(made_of(("or", "or")), rows_of(HISTORIES), "cpu")
    assert shares.shape == (2, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert (shares > 0.01).all()
    readers = sum(len(ITEMS[item]) for history in HISTORIES for item in history if item)
    for kind, same in enumerate((True, False)):
        count = sum(1 for _, _, one in pairs() if one is same)
        np.testing.assert_allclose(weights[:, kind] * count, shares[:, kind] * readers, rtol=1e-6)


def test_a_mask_shows_where_it_closes():
    with torch.inference_mode():
        shares, _ = attention(made_of(("in", "or", "cr_pre")), rows_of(HISTORIES), "cpu")
    assert shares[0, 1] == 0 < shares[0, 0]
    assert shares[2, 0] == 0 < shares[2, 1]
    assert (shares[1] > 0).all()


def test_distances_are_those_of_all_pairs():
    found = distance(prompts, rows_of(HISTORIES))
    for value, same in zip(found, (True, False), strict=True):
        assert value == pytest.approx(np.mean([d for d, _, one in pairs() if one is same]))


def test_tables_and_summary_are_written(tmp_path):
    rows = rows_of(HISTORIES)
    splits, trial = Splits(train=rows, valid=rows, test=rows, origin=""), LocalTrial(tmp_path)
    summary = write_diagnostics(made_of(("in", "or")), splits, 3, trial)
    with (tmp_path / "artifacts" / "attention_total.csv").open() as stream:
        head, *lines = csv.reader(stream)
    assert head == ["layer", "intra", "inter", "itself", "other"]
    assert [line[0] for line in lines] == ["1", "2"]
    assert float(lines[0][2]) == 0
    with (tmp_path / "artifacts" / "attention_pair.csv").open() as stream:
        assert next(csv.reader(stream)) == ["layer", "intra", "inter"]
    intra, inter = (sum(float(line[column]) for line in lines) for column in (1, 2))
    assert summary["trial/attention_ratio"] == pytest.approx(inter / intra, rel=1e-4)
    assert set(summary) == {"trial/attention_ratio"} | {
        f"trial/{name}_{kind}" for name in ("distance", "cooccurrence") for kind in ("intra", "inter")
    }
    assert write_diagnostics(made_of(("in",)), splits, 0, trial) == {}
    fewer = write_diagnostics(made_of(("in", "or")), splits, 1, trial)
    assert fewer["trial/attention_ratio"] != summary["trial/attention_ratio"]
    for kind in ("intra", "inter"):  # over all training rows
        assert fewer[f"trial/cooccurrence_{kind}"] == summary[f"trial/cooccurrence_{kind}"]


def test_items_of_one_token_have_no_ratio(tmp_path):
    rows = rows_of([[0, 3, 3], [3, 3, 3]])
    splits, trial = Splits(train=rows, valid=rows, test=rows, origin=""), LocalTrial(tmp_path)
    assert set(write_diagnostics(made_of(("or",)), splits, 2, trial)) == {
        "trial/distance_inter",
        "trial/cooccurrence_inter",
    }
