"""The formats of public dumps: what is read from each, and which line is named when one breaks a rule."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from trainables.data.__main__ import main
from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.dumps import FORMATS
from trainables.data.sequences import Sequences, load
from trainables.storage.stages import Stages

REVIEW = {"reviewerID": "u", "asin": "A", "overall": 5.0, "unixReviewTime": 1}
BEHAVIOUR = "1\tU1\t11/15/2019 8:55:22 AM\tN9 N3\tN2-1 N1-0 N4-1"


def review(**fields: object) -> str:
    return json.dumps({**REVIEW, **fields})


def packed(path: Path, *lines: str) -> Path:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def prepared(tmp_path: Path, kind: str, reviews: Path, meta: Path, *options: str) -> Sequences:
    files = ("--reviews", str(reviews), "--meta", str(meta), "--out", str(tmp_path / "out"), "--name", "set")
    assert main(["prepare", "--format", kind, *files, "--k-core", "1", *options]) == 0
    return load(Data(name="set", root=str(tmp_path / "out")), Stages(tmp_path / "stages"))


def users(sequences: Sequences) -> list[list[str]]:
    return [[sequences.titles[item] for item in part] for part in np.split(sequences.items, sequences.offsets[1:-1])]


@pytest.mark.parametrize(
    ("kind", "user", "item", "time", "rating", "scale", "write"),
    [
        ("amazon-2014", "reviewerID", "asin", "unixReviewTime", "overall", 1, repr),
        ("amazon-2018", "reviewerID", "asin", "unixReviewTime", "overall", 1, json.dumps),
        ("amazon-2023", "user_id", "parent_asin", "timestamp", "rating", 1000, json.dumps),
    ],
)
def test_amazon_reviews_and_titles_become_a_data_set(
    tmp_path: Path, kind: str, user: str, item: str, time: str, rating: str, scale: int, write: object
) -> None:
    made = [("u1", "B2", 1500, 5.0), ("u1", "B1", 1400, 2.0), ("u1", "B1", 1400.5, 4.0), ("u2", "B2", 1300, 5.0)]
    lines = [json.dumps({user: u, item: i, time: t * scale, rating: r, "text": "x"}) for u, i, t, r in made]
    meta = [{item: "B1", "title": "O'Neil's \"cup\""}, {item: "B2", "title": "Tea", "also": ["B1"], "price": None}]
    assert callable(write)
    reviews, products = packed(tmp_path / "r.gz", *lines, ""), packed(tmp_path / "m.gz", *map(write, meta))
    sequences = prepared(tmp_path, kind, reviews, products, "--min-rating", "3")
    assert users(sequences) == [["O'Neil's \"cup\"", "Tea"], ["Tea"]]
    assert sequences.times is not None
    assert sequences.times.tolist() == [1400.5, 1500, 1300]


def test_metadata_of_2014_are_read_and_never_run(tmp_path: Path) -> None:
    path = packed(tmp_path / "m.gz", "{'asin': 'A', 'title': __import__('os').getcwd()}")
    with pytest.raises(DataError, match=r"m\.gz:1: a line must be a Python literal of a dict, but got "):
        list(FORMATS["amazon-2014"].titles(path))


def test_clicks_follow_what_a_user_had_read_before(tmp_path: Path) -> None:
    later = "2\tU1\t11/15/2019 1:00:00 PM\tN9 N3 N2\tN1-1"
    other = "3\tU2\t11/14/2019 12:00:00 AM\t\tN3-1"
    reviews = packed(tmp_path / "behaviors.tsv.gz", later, BEHAVIOUR, other)
    news = (tmp_path / "news.tsv").absolute()
    news.write_text("".join(f"N{n}\tsports\tgolf\tTitle {n}\tabout\thttp\t[]\t[]\n" for n in (1, 2, 3, 4, 9)))
    sequences = prepared(tmp_path, "mind", reviews, news)
    assert users(sequences) == [[f"Title {n}" for n in (9, 3, 2, 4, 1)], ["Title 3"]]
    assert sequences.times is None


@pytest.mark.parametrize("first", ["train", "dev"])
def test_a_history_that_two_files_tell_is_taken_once_from_the_earlier_impression(tmp_path: Path, first: str) -> None:
    late = "2\tU1\t11/16/2019 1:00:00 PM\tN9 N3 N2 N4\tN1-1"
    paths = [packed(tmp_path / "train", BEHAVIOUR), packed(tmp_path / "dev", late)]
    events = list(FORMATS["mind"].events(paths if first == "train" else paths[::-1]))
    assert [item for _, item, time, _ in events if math.isnan(time)] == ["N9", "N3"]
    assert sorted(item for _, item, time, _ in events if not math.isnan(time)) == ["N1", "N2", "N4"]


def test_two_files_of_impressions_become_one_history_a_user(tmp_path: Path) -> None:
    train = packed(tmp_path / "train.tsv", BEHAVIOUR)
    late = packed(tmp_path / "dev.tsv", "2\tU1\t11/16/2019 1:00:00 PM\tN9 N3 N2 N4\tN1-1")
    news = packed(tmp_path / "news.tsv", *(f"N{n}\tsports\tgolf\tTitle {n}" for n in (1, 2, 3, 4, 9)))
    sequences = prepared(tmp_path, "mind", train, news, "--reviews", str(train), str(late))
    assert users(sequences) == [[f"Title {n}" for n in (9, 3, 2, 4, 1)]]


EMPTY = {"mind": "N1\tsports\tgolf\tTea\tabout\thttp\t[]\t[]", "amazon-2014": "{'asin': 'A', 'title': 'Tea'}"}
PRODUCT = {"amazon-2018": "asin", "amazon-2023": "parent_asin"}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_byte_order_mark_is_skipped_in_every_format(tmp_path: Path, kind: str, zipped: bool) -> None:
    other = json.dumps({"user_id": "u", "parent_asin": "A", "timestamp": 1})
    event = BEHAVIOUR if "mind" in kind else other if kind == "amazon-2023" else review()
    title = EMPTY.get(kind.removesuffix("-clicks")) or json.dumps({PRODUCT[kind]: "A", "title": "Tea"})
    for read, line in ((lambda path: FORMATS[kind].events([path]), event), (FORMATS[kind].titles, title)):
        content = b"\xef\xbb\xbf" + line.encode() + b"\n"
        path = tmp_path / "dump"
        path.write_bytes(gzip.compress(content) if zipped else content)
        assert list(read(path)) == list(read(packed(tmp_path / "plain", line))) != []


def test_a_tab_in_a_title_of_mind_cuts_nothing_off(tmp_path: Path) -> None:
    path = packed(tmp_path / "news", "N1\tsports\tgolf\tTea\tfor two\tabout\thttp\t[]\t[]", "N2\tx\ty\tTitle\tabout")
    assert list(FORMATS["mind"].titles(path)) == [("N1", "Tea\tfor two"), ("N2", "Title")]


def test_a_title_that_is_not_a_number_is_text(tmp_path: Path) -> None:
    path = packed(tmp_path / "meta", '{"asin": "A", "title": NaN}')
    assert list(FORMATS["amazon-2018"].titles(path)) == [("A", "nan")]


def test_clicks_alone_all_have_times(tmp_path: Path) -> None:
    reviews = packed(tmp_path / "behaviors.tsv.gz", BEHAVIOUR, "3\tU2\t11/14/2019 12:00:00 AM\tN4\tN3-1")
    news = packed(tmp_path / "news.tsv.gz", *(f"N{n}\tsports\tgolf\tTitle {n}" for n in (1, 2, 3, 4)))
    sequences = prepared(tmp_path, "mind-clicks", reviews, news)
    assert users(sequences) == [["Title 2", "Title 4"], ["Title 3"]]
    assert sequences.times is not None
    assert sequences.times.tolist() == [1_573_808_122, 1_573_808_122, 1_573_689_600]


def test_a_dump_without_times_or_ratings_says_so_with_not_a_number(tmp_path: Path) -> None:
    events = list(FORMATS["mind"].events([packed(tmp_path / "b.gz", BEHAVIOUR)]))
    assert [item for _, item, _, _ in events] == ["N2", "N4", "N9", "N3"]
    assert [math.isnan(time) for _, _, time, _ in events] == [False, False, True, True]
    assert all(math.isnan(rating) for _, _, _, rating in events)


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("amazon-2018", "{'asin': 'A'}", """a line must be a JSON object, but got "{'asin': 'A'}"; remove it"""),
        ("amazon-2018", "[1, 2]", "a line must be a JSON object, but got '[1, 2]'; is the file of another --format?"),
        ("amazon-2018", review(asin=3), "asin must be text without control characters, but got 3;"),
        ("amazon-2018", review(asin="A\tB"), "asin must be text without control characters, but got 'A\\tB';"),
        ("amazon-2018", review(unixReviewTime="1"), "unixReviewTime must be a finite number, but got '1'"),
        ("amazon-2018", review(unixReviewTime=math.nan), "unixReviewTime must be a finite number, but got nan"),
        ("amazon-2018", review(unixReviewTime=10**400), "unixReviewTime must be a finite number, but got 1000"),
        ("amazon-2018", review(overall=True), "overall must be a finite number, but got True;"),
        ("amazon-2023", review(), "a line must have the key user_id, but has reviewerID, asin, overall, "
                                  "unixReviewTime; is the file of another --format?"),
        ("mind", "1\tU1\tnoon", "a line must have 5 tab-separated fields (impression id, user, time, history, "
                                "impressions), but got 3;"),
        ("mind", BEHAVIOUR.replace("AM", "XM"), "the time must be as in 11/15/2019 8:55:22 AM, but got '11/15/2019 "
                                                "8:55:22 XM'; correct"),
        ("mind", BEHAVIOUR.replace("-0", ""), "impressions must be an item, a hyphen and 1 (clicked) or 0, but got "
                                              "'N1'; use files with labels"),
    ],
)  # fmt: skip
def test_a_malformed_interaction_is_named_with_its_line(tmp_path: Path, kind: str, line: str, message: str) -> None:
    other = json.dumps({"user_id": "u", "parent_asin": "A", "timestamp": 1})
    good = {"mind": BEHAVIOUR, "amazon-2018": review(), "amazon-2023": other}
    path = packed(tmp_path / "dump.gz", good[kind], "", line)
    with pytest.raises(DataError) as caught:
        list(FORMATS[kind].events([path]))
    assert str(caught.value).startswith(f"{path}:3: {message}")


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("amazon-2014", "{'asin': 'A', 'title': }", "a line must be a Python literal of a dict, but got"),
        ("amazon-2014", "3", "a line must be a Python literal of a dict, but got '3'; is the file of another"),
        ("amazon-2018", "{", "a line must be a JSON object, but got '{'; remove it or get the file again"),
        ("amazon-2018", '{"title": "x"}', "a line must have the key asin, but has title;"),
        ("amazon-2018", '{"asin": "A", "title": 3}', "title must be text, but got 3; correct or remove the line"),
        ("mind", "N1\tsports", "a line must have 4 tab-separated fields or more (id, category, subcategory, title), "
                               "but got 2;"),
    ],
)  # fmt: skip
def test_a_malformed_title_is_named_with_its_line(tmp_path: Path, kind: str, line: str, message: str) -> None:
    path = packed(tmp_path / "dump.gz", line)
    with pytest.raises(DataError) as caught:
        list(FORMATS[kind].titles(path))
    assert str(caught.value).startswith(f"{path}:1: {message}")


def test_a_dump_that_breaks_off_or_is_no_text_is_named_with_the_line_reached(tmp_path: Path) -> None:
    whole = packed(tmp_path / "r.gz", *[json.dumps(REVIEW)] * 3)
    broken = tmp_path / "broken.gz"
    broken.write_bytes(whole.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"broken\.gz:\d: a dump must be readable to its end, but it is not \("):
        list(FORMATS["amazon-2018"].events([broken]))
    (tmp_path / "latin").write_bytes(json.dumps(REVIEW).encode() + b"\n\xe9\n")
    with pytest.raises(DataError, match=r"latin:2: a line must be UTF-8, but it is not \(.*\); convert the file"):
        list(FORMATS["amazon-2018"].events([tmp_path / "latin"]))


@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_line_without_an_end_is_refused_packed_or_not(tmp_path: Path, kind: str) -> None:
    path, bomb = tmp_path / "huge", tmp_path / "bomb.gz"
    with path.open("wb") as stream:
        stream.truncate(10**9)
    bomb.write_bytes(gzip.compress(b"\n" + bytes(2**23), compresslevel=1))
    with pytest.raises(DataError, match="huge:1: a line must have at most 4 MiB, but has more; is the file a dump"):
        list(FORMATS[kind].events([path]))
    with pytest.raises(DataError, match=r"bomb\.gz:2: a line must have at most 4 MiB"):
        list(FORMATS[kind].titles(bomb))
