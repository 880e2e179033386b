"""The `.inter` file: what is read, which order counts, and which line is named when a rule is broken."""

from pathlib import Path

import numpy as np
import pytest

from trainables.data.atomic import DataError
from trainables.data.interactions import read_interactions

IDS = ["a", "b", "c"]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def inter(tmp_path: Path, *lines: str, header: str = "user_id:token\titem_id:token\ttimestamp:float") -> Path:
    return write(tmp_path / "x.inter", "\n".join([header, *lines, ""]))


def test_users_are_numbered_as_they_appear_and_items_as_the_item_file_lists_them(tmp_path: Path) -> None:
    path = inter(tmp_path, "u9\tc\t3", "u1\ta\t1.5", "u9\tb\t2")
    users, items, times, *_ = read_interactions(path, IDS)
    assert users.tolist() == [0, 1, 0]
    assert items.tolist() == [3, 1, 2]
    assert items.dtype == np.int32
    assert times is not None
    assert times.tolist() == [3, 1.5, 2]


def test_a_timestamp_column_with_gaps_or_none_at_all_gives_no_times(tmp_path: Path) -> None:
    assert read_interactions(inter(tmp_path, "u\ta\t1", "u\tb\t"), IDS)[2] is None
    assert read_interactions(inter(tmp_path, "u\ta", header="user_id:token\titem_id:token"), IDS)[2] is None


def test_other_columns_windows_line_ends_and_a_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfrating:float\titem_id:token\tuser_id:token\r\n5\tb\tu\r\n1\ta\tu\r\n"
    users, items, times, *_ = read_interactions(write(tmp_path / "x.inter", content), IDS)
    assert (users.tolist(), items.tolist(), times) == ([0, 0], [2, 1], None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["u\ta\t1", "u\ta"], ":3: a line must have 3 tab-separated fields (user_id, item_id, timestamp), but got 2;"),
        (["u\ta\t1", "", "u\ta\t1", ""], ":3: a line must have 3 tab-separated fields (user_id, item_id, timestamp), "
                                         "but got 1 (and 1 more lines)"),
        (["u\ta\t1\t2"], ":2: a line must have 3 tab-separated fields (user_id, item_id, timestamp), but got 4;"),
        (["u\ta\t1", "u\ta\tyesterday"], ":3: a timestamp must be a finite number or empty, but got 'yesterday';"),
        (["u\ta\t", "u\ta\tnan"], ":3: a timestamp must be a finite number or empty, but got 'nan';"),
        (["u\ta\t1", "\ta\t1"], ":3: user_id must not be empty, but got ''; fill it or remove the line"),
        (["u\ta\t1", "u\td\t1", "u\t\t1"], ":3: an item_id must be one of the 3 of x.item, but got 'd' "
                                           "(and 1 more lines); add the item or remove the line"),
        ([], ":2: at least one line must follow the header, but there is none"),
    ],
)  # fmt: skip
def test_a_malformed_interaction_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    path = inter(tmp_path, *lines)
    with pytest.raises(DataError) as caught:
        read_interactions(path, IDS)
    assert f"{path}{message}" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("user_id\titem_id:token", ":1: the header must name every column as column:type (types: token, token_seq, "
                                   "float, float_seq), but got 'user_id';"),
        ("user_id:token\titem_id:integer", "but got 'item_id:integer';"),
        ("user_id:token\titem:token", ":1: the header must name user_id and item_id, and no column twice, but got "
                                      "user_id, item;"),
        ("user_id:token\titem_id:token\titem_id:token", "but got user_id, item_id, item_id;"),
        ("", "but got '';"),
    ],
)  # fmt: skip
def test_a_wrong_header_is_said_to_be_wrong(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_interactions(inter(tmp_path, "u\ta", header=header), IDS)
    assert message in str(caught.value)


TIMED = "user_id:token\titem_id:token\ttimestamp:float"


def test_untimed_lines_are_counted_where_the_times_of_each_user_ascend(tmp_path: Path) -> None:
    path = inter(tmp_path, "u\ta\t", "v\tb\t7", "u\tc\t5", "v\ta\t", "u\tb\t5")
    users, items, times, untimed, _ = read_interactions(path, IDS)
    assert (users.tolist(), items.tolist(), times, untimed) == ([0, 1, 0, 1, 0], [1, 2, 3, 1, 2], None, 2)
    assert read_interactions(inter(tmp_path, "u\ta\t", "u\tb\t"), IDS)[2:4] == (None, 2)


def test_untimed_lines_are_named_where_the_times_of_some_user_do_not_ascend(tmp_path: Path) -> None:
    path = inter(tmp_path, "u\ta\t9", "v\tb\t", "v\ta\t1", "u\tc\t8", "v\ta\t")
    with pytest.raises(DataError) as caught:
        read_interactions(path, IDS)
    assert str(caught.value) == (
        f"{path}:3: every line must have a timestamp unless each user's ascend where they stand, but 2 of 5 lines have "
        "none (line 3, 6), and line 5 is older than line 2 of the same user; fill the timestamps, or sort each user's "
        "lines by time and put the untimed ones where they belong"
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        *((name, ("3", "1")) for name in ("time:float", "Timestamp:float", "unix_timestamp:token", "TS:float")),
        *((name, ("3", "1")) for name in ("unixReviewTime:float", "reviewtime:token", "date:token", "created:token")),
        ("when:token", ("2014-05-13", "2014-05-12 10:00")),
        ("x:float", ("1400094400", "1400011000")),
        ("x:float", ("1400094400000", "1400011000000.5")),
        ("x:token", ("05/13/2014", "5/12/2014")),
    ],
)  # fmt: skip
def test_a_column_that_looks_like_a_time_is_named_and_timestamp_offered(
    tmp_path: Path, column: str, values: tuple[str, str]
) -> None:
    path = inter(tmp_path, *(f"u\t{item}\t{value}" for item, value in zip("ab", values, strict=True)),
                 header=f"user_id:token\titem_id:token\t{column}")  # fmt: skip
    name = column.partition(":")[0]
    rule = rf"x\.inter:1: times must be in a column timestamp, .* but got {name}, which looks like a time; rename"
    with pytest.raises(DataError, match=rule):
        read_interactions(path, IDS)
    both = inter(
        tmp_path, "u\ta\t7\t2", "u\tb\t7\t1", header=f"user_id:token\titem_id:token\t{column}\ttimestamp:float"
    )
    assert read_interactions(both, IDS)[2] is not None, "another time beside a timestamp is no question"


@pytest.mark.parametrize(
    ("column", "value"),
    [("rating:float", "5"), ("candidate:token", "x"), ("sentiment:float", ".5"), ("watch_time:float", "90"),
     ("session_id:token", "1400094400"), ("price:float", ""), ("release_date:token", "x")],
)  # fmt: skip
def test_a_column_that_is_no_time_leaves_the_order_to_the_file(tmp_path: Path, column: str, value: str) -> None:
    path = inter(tmp_path, f"u\ta\t{value}", f"u\tb\t{value}", header=f"user_id:token\titem_id:token\t{column}")
    assert read_interactions(path, IDS)[2:4] == (None, 2)


def test_a_line_without_an_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = inter(tmp_path, "u\ta\t1")
    with path.open("r+b") as stream:
        stream.truncate(10**9)
    with pytest.raises(DataError, match=r"x\.inter:3: a line must have at most 1 MiB, but has more; is the file"):
        read_interactions(path, IDS)
    write(path, "user_id:token\titem_id:token\n" + f"{'u' * 900_000}\ta\n" * 3)
    assert read_interactions(path, IDS)[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("times", "line", "odd"),
    [
        (("1400000001", "1400000002000", "1400000003"), 3, "1400000002000"),
        (("1400000001000", "", "1400000002", "1400000009000"), 4, "1400000002"),
        (("1400000001", "1400000002", "-1"), 4, "-1"),
        (("0", "1400000002000", "1400000001000"), 2, "0"),
    ],
)
def test_times_of_two_units_or_a_number_for_none_are_named(
    tmp_path: Path, times: tuple[str, ...], line: int, odd: str
) -> None:
    path = inter(tmp_path, *(f"u\ta\t{time}" for time in times))
    rule = rf"x\.inter:{line}: timestamps must be unix times of one unit, .* but got '{odd}'; correct the line,"
    with pytest.raises(DataError, match=rule):
        read_interactions(path, IDS)


@pytest.mark.parametrize("times", [("0", "1", "2"), ("0", "100000000000", "7"), ("-5", "1400000000", "40"), ("0", "0")])
def test_times_that_are_no_unix_times_are_only_compared(tmp_path: Path, times: tuple[str, ...]) -> None:
    read = read_interactions(inter(tmp_path, *(f"u\ta\t{time}" for time in times)), IDS)
    assert read.times is not None
    assert read.times.tolist() == [*map(float, times)]
