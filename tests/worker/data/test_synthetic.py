"""The built-in data set: repeatable, and with something to learn from order and from titles."""

import numpy as np
import pytest

from trainables.data import synthetic
from trainables.data.config import Data
from trainables.data.sequences import Sequences, load
from trainables.data.splits import Rows, leave_one_out
from trainables.data.text import text_stage
from trainables.floors.counts import count, popularity_scores, transition_scores
from trainables.storage.stages import Stages


@pytest.fixture(scope="module")
def sequences(stages: Stages) -> Sequences:
    return load(Data(), stages)


@pytest.fixture(scope="module")
def test_rows(sequences: Sequences) -> Rows:
    return leave_one_out(sequences, Data()).test


def hits(scores_NI: np.ndarray, target_N: np.ndarray, k: int = 20) -> float:
    """Hit ratio at ``k``, ties against the target."""
    target_N1 = np.take_along_axis(scores_NI, target_N[:, None], axis=1)
    return float(np.mean((scores_NI[:, 1:] >= target_N1).sum(axis=1) <= k))


def test_it_is_the_same_every_time() -> None:
    one, other = synthetic.interactions(synthetic.SEED), synthetic.interactions(synthetic.SEED)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert synthetic.titles(synthetic.SEED) == synthetic.titles(synthetic.SEED)
    assert not np.array_equal(one[1], synthetic.interactions(synthetic.SEED + 1)[1])


def test_it_is_as_large_as_it_says(sequences: Sequences) -> None:
    assert (sequences.num_users, sequences.num_items) == (1_200, 401)
    lengths = np.diff(sequences.offsets)
    assert lengths.min() == 5
    assert lengths.max() <= 40
    assert np.unique(sequences.items).tolist() == list(range(1, 401))
    user = np.repeat(np.arange(1_200), lengths)
    assert len(np.unique(user * 1_000 + sequences.items)) == len(sequences.items), "nobody meets an item twice"


def test_everybody_takes_one_item_after_another_in_overlapping_spans_of_time(sequences: Sequences) -> None:
    assert sequences.times is not None
    same_user = np.diff(np.repeat(np.arange(1_200), np.diff(sequences.offsets))) == 0
    assert (np.diff(sequences.times)[same_user] >= 1).all()
    assert (sequences.times == np.floor(sequences.times)).all()
    cut = np.quantile(sequences.times, 0.8)
    first, last = sequences.times[sequences.offsets[:-1]], sequences.times[sequences.offsets[1:] - 1]
    assert 100 < np.sum((first < cut) & (last > cut)) < 600


def test_its_content_never_changes(sequences: Sequences) -> None:
    assert sequences.fingerprint == "b9d3512942c112b3"


def test_titles_hold_the_category_and_the_series(sequences: Sequences) -> None:
    first, same_series, same_category, other = (set(sequences.titles[number].split()) for number in (1, 2, 6, 100))
    assert len(first & same_series) >= 2
    assert first & same_category
    assert not first & same_category & other


def test_its_text_vectors_are_wide_enough_for_the_usual_models(sequences: Sequences, stages: Stages) -> None:
    vectors = text_stage(sequences, Data(), stages)["vectors"]
    assert vectors.shape == (401, 256)
    assert np.linalg.matrix_rank(vectors) == 256


def test_the_order_of_the_history_tells_more_than_popularity(sequences: Sequences, test_rows: Rows) -> None:
    counts = count(sequences, leave_one_out(sequences, Data()).train)
    popular = hits(popularity_scores(counts, len(test_rows)), test_rows.target_N)
    newest = hits(transition_scores(counts, test_rows.history_NL, 5, 0.5), test_rows.target_N)
    long = test_rows.history_NL[:, 0] > 0
    history, target = test_rows.history_NL[long], test_rows.target_N[long]
    in_order = hits(transition_scores(counts, history, 5, 0.5), target)
    reversed_order = hits(transition_scores(counts, history[:, ::-1], 5, 0.5), target)
    assert popular < 0.2
    assert 0.3 < newest < 0.6
    assert reversed_order < in_order - 0.1


def test_titles_tell_what_counts_of_ids_do_not(sequences: Sequences, stages: Stages, test_rows: Rows) -> None:
    """Transitions spread over items with similar titles hit more often than the transitions themselves."""
    vectors = np.array(text_stage(sequences, Data(), stages)["vectors"])
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    likeness = np.clip(unit @ unit.T, 0, None) ** 2
    counts = count(sequences, leave_one_out(sequences, Data()).train)
    spread = likeness @ counts.follows_II.toarray() @ likeness * (counts.taken_I + 3)
    spread /= spread.sum(axis=1, keepdims=True) + 1e-9
    history = test_rows.history_NL
    with_text = hits(spread[history[:, -1]] + 0.5 * spread[history[:, -2]], test_rows.target_N)
    without = hits(transition_scores(counts, history, 5, 0.5), test_rows.target_N)
    assert with_text > without + 0.02
