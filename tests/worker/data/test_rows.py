"""Rows of an evaluation: their fingerprint, and drawing some of them."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from trainables.data.config import Data
from trainables.data.sequences import Sequences
from trainables.data.splits import Splits, split

MakeSequences = Callable[..., Sequences]
KINDS = ("leave_one_out", "users", "time")
USERS = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9], *([[1, 3, 5, 7]] * 20)]
TIMES = [[float(step - number) for step in range(len(user))] for number, user in enumerate(USERS)]


@pytest.fixture
def made(sequences_of: MakeSequences) -> Callable[..., Splits]:
    def make(sequences: Sequences | None = None, **fields: object) -> Splits:
        return split(sequences or sequences_of(USERS, TIMES), Data(**fields))  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_ignores_what_only_trains_or_ranks(made: Callable[..., Splits], kind: str) -> None:
    plain = made(split=kind).fingerprint
    assert len(plain) == 16
    assert int(plain, 16) >= 0
    same = ({"train_rows": "all"}, {"text": "other.npy"}, {"text_width": 3}, {"mask_seen": True}, {"eval_rows": 99})
    assert {made(split=kind, **fields).fingerprint for fields in same} == {plain}


@pytest.mark.parametrize("kind", KINDS)
def test_targets_that_stay_in_the_ranking_are_part_of_the_fingerprint_where_seen_items_leave_it(
    made: Callable[..., Splits], kind: str
) -> None:
    plain, unmasked = made(split=kind), made(split=kind, mask_target=False)
    stay = made(split=kind, mask_seen=True, mask_target=False)
    assert unmasked.fingerprint == plain.fingerprint != stay.fingerprint
    assert stay.trained_on != plain.trained_on, "validation chooses the epoch"
    assert stay.train_fingerprint == plain.train_fingerprint
    assert not stay.test.take(slice(1)).mask_target


def test_the_fingerprint_follows_what_chooses_the_rows(
    made: Callable[..., Splits], sequences_of: MakeSequences
) -> None:
    prints = [made(split=kind).fingerprint for kind in KINDS]
    prints += [made(split=kind, keep_last=4).fingerprint for kind in KINDS]
    prints += [made(split="users", held_out_rows="all").fingerprint, made(split="users", split_seed=1).fingerprint]
    prints += [made(split="time", max_history=2).fingerprint]
    prints += [made(split="leave_one_out", eval_rows=n).fingerprint for n in (3, 4)]
    prints += [made(split="leave_one_out", eval_rows=3, split_seed=1).fingerprint]
    prints += [made(sequences_of(USERS, TIMES, "another"), split=kind).fingerprint for kind in KINDS]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_of_leave_one_out_is_that_of_its_rows_not_of_the_model(made: Callable[..., Splits]) -> None:
    assert made(max_history=3).fingerprint == made().fingerprint
    assert made(keep_last=99).fingerprint == made(keep_last=None).fingerprint, "nothing is cut off"


LATER = [[time + 1000 * (number == 1) for time in times] for number, times in enumerate(TIMES)]
"""The same order inside each user, but the second user's interactions are the newest of all."""


def test_what_is_trained_on_follows_the_times_where_they_choose_the_rows(
    made: Callable[..., Splits], sequences_of: MakeSequences
) -> None:
    later = sequences_of(USERS, LATER)
    assert made(later, split="time").trained_on != made(split="time").trained_on
    for kind in ("leave_one_out", "users"):
        assert made(later, split=kind).trained_on == made(split=kind).trained_on


def test_what_is_trained_on_follows_the_training_and_validation_rows_not_those_of_the_test(
    made: Callable[..., Splits], sequences_of: MakeSequences
) -> None:
    plain = made()
    different = [plain, made(train_rows="all"), made(eval_rows=3), made(sequences_of(USERS, TIMES, "another"))]
    assert len({splits.trained_on for splits in different}) == 4
    assert dataclasses.replace(plain, test=plain.test.take(slice(2))).trained_on == plain.trained_on
    assert plain.trained_on != plain.fingerprint


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_rows_as_asked_are_evaluated_in_their_order_and_training_stays(
    made: Callable[..., Splits], kind: str, seed: int
) -> None:
    every = made(split=kind, split_seed=seed, keep_last=None)
    some = made(split=kind, split_seed=seed, keep_last=None, eval_rows=2)
    assert np.array_equal(some.train.stop_N, every.train.stop_N)
    for rows, full in ((some.valid, every.valid), (some.test, every.test)):
        assert len(rows) == 2
        place = [full.stop_N.tolist().index(stop) for stop in rows.stop_N]
        assert place == sorted(place)
        assert np.array_equal(rows.history_NL, full.history_NL[place])
        assert rows.target_N.tolist() == full.target_N[place].tolist()


def test_a_sample_is_drawn_without_replacement_keeps_the_order_and_follows_the_generator(
    made: Callable[..., Splits],
) -> None:
    rows = made(train_rows="all").train
    drawn = [rows.sample(5, np.random.default_rng(seed)).stop_N.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == rows.stop_N[np.sort(np.random.default_rng(0).choice(len(rows), 5, replace=False))].tolist()
    places = [rows.stop_N.tolist().index(stop) for stop in drawn[0]]
    assert places == sorted(set(places))
    assert rows.sample(len(rows), np.random.default_rng(0)) is rows
