"""`python -m trainables.data prepare`: filters, order, what is written, and what is refused."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.__main__ import main
from trainables.data.config import Data
from trainables.data.prepare import core
from trainables.data.sequences import Sequences, load
from trainables.storage.stages import Stages

Review = tuple[str, str, float, float]
Prepare = Callable[..., int]

SQUARE = [(user, item, 5.0, time) for time, user in enumerate(("u2", "u1")) for item in ("B", "A")]
"""Two users who each met two items."""


def write(path: Path, records: list[object]) -> Path:
    """JSON lines, gzipped where the name says so; text stands as it is."""
    text = "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def reviews(path: Path, made: list[Review]) -> Path:
    records: list[object] = [
        {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": time}
        for user, item, rating, time in made
    ]
    return write(path, records)


def titles(path: Path, **given: str | None) -> Path:
    return write(path, [{"asin": item, "title": title} for item, title in given.items()])


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Call with reviews, titles and options; the data set is `shop` in `tmp_path`."""

    def run(made: list[Review], *options: str, **given: str | None) -> int:
        files = reviews(tmp_path / "reviews.json.gz", made), titles(tmp_path / "meta.json.gz", **given)
        fixed = ("prepare", "--format", "amazon-2018", "--out", str(tmp_path), "--name", "shop")
        return main([*fixed, "--reviews", str(files[0]), "--meta", str(files[1]), *options])

    return run


def loaded(tmp_path: Path) -> Sequences:
    return load(Data(name="shop", root=str(tmp_path)), Stages(tmp_path / "stages"))


def users(sequences: Sequences) -> list[list[int]]:
    return [part.tolist() for part in np.split(sequences.items, sequences.offsets[1:-1])]


def test_lines_are_grouped_by_user_in_order_of_time_and_ties_by_item(tmp_path: Path, prepare: Prepare) -> None:
    made = [("u2", "C", 5.0, 9), ("u2", "B", 5.0, 3), ("u1", "B", 5.0, 4), ("u2", "A", 5.0, 3), ("u2", "B", 5.0, 3)]
    assert prepare(made, "--k-core", "1", A="Ape", B="Bee &amp; Co", C="Cat\t\n 2", D="Dog") == 0
    assert (tmp_path / "shop" / "shop.inter").read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float",
        *("u1\tB\t4", "u2\tA\t3", "u2\tB\t3", "u2\tB\t3", "u2\tC\t9"),
    ]
    sequences = loaded(tmp_path)
    assert users(sequences) == [[2], [1, 2, 2, 3]]
    assert list(sequences.titles) == ["", "Ape", "Bee & Co", "Cat 2"]
    assert sequences.times is not None
    assert sequences.times.tolist() == [4, 3, 3, 3, 9]
    assert not list((tmp_path / "shop").glob(".*"))


def test_each_filter_says_what_it_leaves(tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    extra = [("u1", "low", 2.0, 3), ("u1", "unlisted", 5.0, 3), ("u1", "bare", 5.0, 3), ("u3", "A", 5.0, 3)]
    made = SQUARE + extra
    assert prepare(made, "--k-core", "2", "--min-rating", "3", A="Ape", B="Bee", low="Low", bare=" ") == 0
    assert capsys.readouterr().out.splitlines() == [
        "read: 3 users, 5 items, 8 interactions",
        "repeats (keep): 0 records stand again with the same user, item and time, 0 with the same user and item, 0 of "
        "them right after each other",
        "rating 3 or more: 3 users, 4 items, 7 interactions",
        "items in the metadata: 3 users, 3 items, 6 interactions",
        "items with a title: 3 users, 2 items, 5 interactions",
        "users with 2 or more, items with 2 or more: 2 users, 2 items, 4 interactions",
        f"wrote {tmp_path / 'shop'}",
    ]
    assert users(loaded(tmp_path)) == [[1, 2], [1, 2]]


TWICE = [("u1", item, 5.0, time) for time, item in enumerate("ABABB")] + [("u2", item, 5.0, 1) for item in "ABAA"]
"""u1 meets A and B again, B at once; u2's A stands there three times with one time."""


@pytest.mark.parametrize(
    ("duplicates", "left"),
    [
        ("keep", [[1, 2, 1, 2, 2], [1, 1, 1, 2]]),
        ("drop", [[1, 2], [1, 2]]),
        ("drop-adjacent", [[1, 2, 1, 2], [1, 2]]),
    ],
)
def test_repeats_are_counted_and_left_out_where_asked(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str], duplicates: str, left: list[list[int]]
) -> None:
    assert prepare(TWICE, "--k-core", "1", "--duplicates", duplicates, A="Ape", B="Bee") == 0
    assert users(loaded(tmp_path)) == left
    said = capsys.readouterr().out
    assert (
        f"repeats ({duplicates}): 2 records stand again with the same user, item and time, 5 with the same user" in said
    )
    assert "item, 3 of them right after each other\n" in said


def test_repeats_that_the_core_brings_together_are_left_out_too(tmp_path: Path, prepare: Prepare) -> None:
    """B is met once and leaves, so that u1's second A follows the first, and C has one user less."""
    made = [(user, item, 5.0, n) for user, items in (("u1", "ABACC"), ("u2", "CA")) for n, item in enumerate(items)]
    assert prepare(made, "--k-core", "2", "--duplicates", "drop-adjacent", A="Ape", B="Bee", C="Cat") == 0
    assert users(loaded(tmp_path)) == [[1, 2], [2, 1]]


def test_a_new_data_set_says_the_facts_of_its_test_rows(prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    made = [("u1", item, 5.0, n * 86_400) for n, item in enumerate("ABCAB")]
    given = {item: item for item in "ABC"}
    assert prepare(made, "--k-core", "1", **given) == 0
    assert (
        "leave_one_out: 2 of 5 interactions repeat an item of the user; of 1 test targets, 1 are in the history "
        "already, 0 as its last item, 0.0% have the last item's date, 100.0% are one step from the last item"
    ) in capsys.readouterr().out


def test_the_core_is_taken_after_the_untitled_items_are_gone(tmp_path: Path, prepare: Prepare) -> None:
    """Every user and item has two, but u3 only with the untitled item; without u3, item C has one."""
    made = [*SQUARE, ("u3", "C", 5.0, 1), ("u3", "bare", 5.0, 2), ("u1", "C", 5.0, 3), ("u2", "bare", 5.0, 3)]
    assert prepare(made, "--k-core", "2", A="Ape", B="Bee", C="Cat", bare=None) == 0
    assert list(loaded(tmp_path).titles) == ["", "Ape", "Bee"]


def test_untitled_items_stay_where_they_are_asked_for(tmp_path: Path, prepare: Prepare) -> None:
    assert prepare(SQUARE, "--k-core", "2", "--no-drop-untitled", A="Ape", B=None) == 0
    assert list(loaded(tmp_path).titles) == ["", "Ape", ""]


SCRIPT = '<span id="productTitle">\n var aPageStart = (new Date()).getTime();\n</span>'


@pytest.mark.parametrize(("option", "left"), [("--drop-untitled", ["Tea"]), ("--no-drop-untitled", ["", "", "Tea"])])
def test_titles_that_are_none_are_counted_and_untitled(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str], option: str, left: list[str]
) -> None:
    made = [("u1", item, 5.0, float(n)) for n, item in enumerate("ABC")]
    assert prepare(made, "--k-core", "1", option, A=SCRIPT, B="nan", C="<b>Tea</b>") == 0
    assert list(loaded(tmp_path).titles)[1:] == left
    assert (
        "titles of 3 items: 1 page source (untitled), 1 nan, None and the like (untitled), 1 with tags (left out)\n"
    ) in capsys.readouterr().out


def test_a_title_stands_against_a_later_one_that_is_none(tmp_path: Path, prepare: Prepare) -> None:
    meta: list[object] = [{"asin": "A", "title": title} for title in ("Ape &amp;amp; co", SCRIPT, "None")]
    write(tmp_path / "other.json", [*meta, {"asin": "B", "title": "Bee"}])
    assert prepare(SQUARE, "--k-core", "1", "--meta", str(tmp_path / "other.json")) == 0
    assert list(loaded(tmp_path).titles) == ["", "Ape & co", "Bee"]


@pytest.mark.parametrize(
    ("reviews_", "meta", "message"),
    [
        ("empty", "m", "--reviews: a file must hold a line, but {0}/empty is empty; get the file again"),
        ("r", "empty", "--meta: a file must hold a line, but {0}/empty is empty; get the file again"),
        ("m", "r", "--meta: must hold titles, but {0}/r holds interactions; swap it with {0}/m"),
        ("r", "r", "--meta: must hold titles, but {0}/r holds interactions; name the file of titles"),
    ],
)
def test_files_that_are_empty_or_in_each_others_place_are_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reviews_: str, meta: str, message: str
) -> None:
    reviews(tmp_path / "r", [("u", "A", 5.0, 1.0)])
    titles(tmp_path / "m", A="Ape", B="Bee")
    write(tmp_path / "empty", ["", " "])
    files = ("--reviews", str(tmp_path / reviews_), "--meta", str(tmp_path / meta), "--out", str(tmp_path))
    assert main(["prepare", "--format", "amazon-2018", *files, "--name", "shop"]) == 2
    assert capsys.readouterr().err == message.format(tmp_path) + "\n"


def test_the_recipe_of_pad_keeps_rare_items_and_users_of_five_good_ratings(tmp_path: Path, prepare: Prepare) -> None:
    made = [("u1", f"i{n}", 4.0, n) for n in range(5)] + [("u2", f"j{n}", 3.0 + (n > 0), n) for n in range(5)]
    given = {item: "" for _, item, _, _ in made}
    assert prepare(made, "--recipe", "pad", **given) == 0
    assert users(loaded(tmp_path)) == [[1, 2, 3, 4, 5]]


def test_an_option_overrides_its_recipe(tmp_path: Path, prepare: Prepare) -> None:
    made = [("u1", item, 1.0, n) for n, item in enumerate("ABC")]
    assert prepare(made, "--recipe", "pad", "--min-user", "3", "--min-rating", "1", A="Ape", B="Bee", C="Cat") == 0
    assert users(loaded(tmp_path)) == [[1, 2, 3]]


def test_the_last_title_given_counts(tmp_path: Path, prepare: Prepare) -> None:
    meta: list[object] = [{"asin": "A", "title": title} for title in ("old", "new", "", None)]
    write(tmp_path / "other.json", [*meta, {"asin": "A"}, {"asin": "B", "title": "\ud83d bee"}])
    assert prepare(SQUARE, "--k-core", "1", "--meta", str(tmp_path / "other.json")) == 0
    assert list(loaded(tmp_path).titles) == ["", "new", "? bee"]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_the_core_is_what_dropping_one_by_one_leaves(pairs: list[tuple[int, int]], user: int, item: int) -> None:
    left = list(pairs)
    while True:
        by_user, by_item = Counter(u for u, _ in left), Counter(i for _, i in left)
        short = [pair for pair in left if by_user[pair[0]] < user or by_item[pair[1]] < item]
        if not short:
            break
        left = [pair for pair in left if pair != short[0]]
    columns = np.array(pairs, np.int64).reshape(-1, 2)
    keep = core(columns[:, 0], columns[:, 1], user, item)
    assert [pair for pair, stays in zip(pairs, keep, strict=True) if stays] == left


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--k-core", "3"), "shop: an interaction must pass all filters, but none has users with 3 or more, items with "
                            "3 or more; relax that filter"),
        (("--min-rating", "6"), "but none has rating 6 or more; relax"),
        (("--name", "a/b"), "--name: name must be at most 100 letters, digits, dots, underscores and hyphens"),
        (("--name", "synthetic"), "--name: must not be 'synthetic', which is built in; choose another name"),
        (("--reviews", "nowhere.json"), "must be files, but nowhere.json is not there; correct the path"),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_ends_with_code_2_and_writes_nothing(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert prepare(SQUARE, *options, A="Ape", B="Bee") == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*.inter"))


def test_a_data_set_that_is_there_is_not_written_over(
    tmp_path: Path, prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(SQUARE, "--k-core", "1", A="Ape", B="Bee") == 0
    before = (tmp_path / "shop" / "shop.inter").read_bytes()
    assert prepare(SQUARE[:2], "--k-core", "1", A="Ape", B="Bee") == 2
    assert "--name: a data set must be new, but" in capsys.readouterr().err
    assert (tmp_path / "shop" / "shop.inter").read_bytes() == before


def test_a_rating_filter_needs_ratings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "r", [{"reviewerID": "u", "asin": "A", "unixReviewTime": 1}])
    titles(tmp_path / "m", A="Ape")
    files = ("--reviews", str(tmp_path / "r"), "--meta", str(tmp_path / "m"), "--out", str(tmp_path), "--name", "shop")
    assert main(["prepare", "--format", "amazon-2018", *files, "--recipe", "pad"]) == 2
    assert "--min-rating: needs a rating on every line, but 1 of 1 have none" in capsys.readouterr().err
    assert main(["prepare", "--format", "mind", *files, "--min-rating", "4"]) == 2
    assert "--min-rating: must be left out for mind, which has no ratings, but got 4.0" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--format", "netflix"), ("--k-core", "0"), ("--min-user", "x")])
def test_a_wrong_option_ends_with_code_2(prepare: Prepare, options: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare(SQUARE, *options, A="Ape")
    assert ended.value.code == 2
