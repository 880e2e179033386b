"""RecBole atomic files: what is read, and which line is named when a rule is broken."""

from pathlib import Path

import numpy as np
import pytest

from trainables.data.atomic import DataError, locate, read_interactions, read_items, read_table

IDS = ["a", "b", "c"]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def inter(tmp_path: Path, *lines: str, header: str = "user_id:token\titem_id:token\ttimestamp:float") -> Path:
    return write(tmp_path / "x.inter", "\n".join([header, *lines, ""]))


def test_users_are_numbered_as_they_appear_and_items_as_the_item_file_lists_them(tmp_path: Path) -> None:
    path = inter(tmp_path, "u9\tc\t3", "u1\ta\t1.5", "u9\tb\t2")
    users, items, times = read_interactions(path, IDS)
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
    users, items, times = read_interactions(write(tmp_path / "x.inter", content), IDS)
    assert (users.tolist(), items.tolist(), times) == ([0, 0], [2, 1], None)


def test_titles_are_unescaped_once_and_may_be_empty(tmp_path: Path) -> None:
    lines = ("item_id:token\ttitle:token_seq", "a\tSalt &amp; Pepper &quot;x&quot;", "b\t", "c\tÉtui")
    path = write(tmp_path / "x.item", "\n".join(lines))
    assert read_items(path) == (IDS, ['Salt & Pepper "x"', "", "Étui"])


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


def test_a_repeated_item_is_named_where_it_is_repeated(tmp_path: Path) -> None:
    path = write(tmp_path / "x.item", "item_id:token\ttitle:token_seq\na\tA\nb\tB\na\tC\n")
    with pytest.raises(DataError, match=r"x\.item:4: an item has one line, but got 'a'; remove the repeated line"):
        read_items(path)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.item", b"item_id:token\ttitle:token_seq\na\tfine\nb\tcaf\xe9\n")
    with pytest.raises(DataError, match=r"x\.item:3: the file must be UTF-8, but got byte 0xe9; convert it"):
        read_table(path, ("item_id",))


def test_data_that_are_nowhere_are_reported_with_every_place_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "shelf"))
    with pytest.raises(DataError) as caught:
        locate("books", None)
    assert f"looked at {tmp_path / 'shelf' / 'books'}, {tmp_path / 'data' / 'books'};" in str(caught.value)
    assert "RecBole's atomic format" in str(caught.value)
    with pytest.raises(DataError, match=rf"looked at {tmp_path / 'here' / 'books'}; put a data set"):
        locate("books", str(tmp_path / "here"))
    monkeypatch.delenv("SWEEP_DATA")
    with pytest.raises(DataError, match=r"looked at \S+books \(\$SWEEP_DATA is not set\)"):
        locate("books", None)


def test_the_environment_comes_before_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("shelf", "data"):
        folder = tmp_path / place / "books"
        folder.mkdir(parents=True)
        write(folder / "books.inter", "")
        write(folder / "books.item", "")
    assert locate("books", None) == tmp_path / "data" / "books"
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path / "shelf"))
    assert locate("books", None) == tmp_path / "shelf" / "books"


def test_a_line_without_an_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = inter(tmp_path, "u\ta\t1")
    with path.open("r+b") as stream:
        stream.truncate(10**9)
    with pytest.raises(DataError, match=r"x\.inter:3: a line must have at most 1 MiB, but has more; is the file"):
        read_interactions(path, IDS)
    write(path, "user_id:token\titem_id:token\n" + f"{'u' * 900_000}\ta\n" * 3)
    assert read_interactions(path, IDS)[1].tolist() == [1, 1, 1]
