"""Notes on a data set: which order counts, and what is not read."""

from pathlib import Path

import pytest

from tests.worker.data.test_checks import INTER, data_set
from trainables.data.config import Data
from trainables.data.notes import notes

TIMED = "user_id:token\titem_id:token\ttimestamp:float\n"


def test_a_file_without_any_time_says_that_its_order_is_taken(tmp_path: Path) -> None:
    order = "toy: no line has a timestamp, so the order of the lines is taken as each user's order"
    assert notes(data_set(tmp_path, INTER)) == [order]
    assert notes(data_set(tmp_path, TIMED + "u\t1\t\nu\t2\t\nu\t1\t\nu\t2\t\n")) == [order]


def test_untimed_lines_are_counted(tmp_path: Path) -> None:
    (note,) = notes(data_set(tmp_path, TIMED + "u\t1\t\nu\t2\t5\nu\t1\t\nu\t2\t6\n"))
    assert note.startswith("toy: 2 of 4 lines have no timestamp; each user's times ascend where they stand, so")


def test_a_rating_is_said_to_be_unread_and_the_option_named(tmp_path: Path) -> None:
    lines = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "u\t1\t5\t1\nu\t2\t1\t2\n" * 2
    (note,) = notes(data_set(tmp_path, lines))
    assert note.startswith("toy: the column rating is not read, so that every line counts alike;")
    assert "--min-rating" in note


def test_titles_of_a_file_that_are_none_are_counted(tmp_path: Path) -> None:
    data = data_set(tmp_path, INTER, item="item_id:token\ttitle:token_seq\n1\tnan\n2\tSalt &amp;amp; Pepper\n")
    assert notes(data)[1:] == [
        "toy: toy.item has titles that prepare would change, read as they stand: 1 nan, None and the like (untitled), "
        "1 escaped twice or more (unescaped)"
    ]


@pytest.mark.parametrize("data", [Data(), Data(name="nowhere")])
def test_built_in_and_absent_data_have_no_notes(data: Data) -> None:
    assert notes(data) == []


def test_targets_that_masking_hides_are_counted(tmp_path: Path) -> None:
    lines = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(
        f"{user}\t{item}\t{time}\n" for user, items in (("u", "1212"), ("v", "1112")) for time, item in enumerate(items)
    )
    (note,) = notes(data_set(tmp_path, lines, mask_seen=True))
    assert note == (
        "toy: data.mask_seen takes 1 of 2 test targets and 2 of 2 of validation out of the ranking, as their users met "
        "them before, so that no method hits them and HR is at most 0.500; data.mask_target: false leaves them in, "
        "data.duplicates: drop has none"
    )
    assert notes(data_set(tmp_path, lines)) == notes(data_set(tmp_path, lines, mask_seen=True, mask_target=False)) == []
