"""RecBole atomic files: what is read, and which line is named when a rule is broken."""

from pathlib import Path

import pytest

from trainables.data.atomic import DataError, locate, read_items, read_table
from trainables.fields import require_name

IDS = ["a", "b", "c"]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_titles_are_unescaped_once_and_may_be_empty(tmp_path: Path) -> None:
    lines = ("item_id:token\ttitle:token_seq", "a\tSalt &amp; Pepper &quot;x&quot;", "b\t", "c\tÉtui")
    path = write(tmp_path / "x.item", "\n".join(lines))
    assert read_items(path) == (IDS, ['Salt & Pepper "x"', "", "Étui"])


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


def test_a_data_set_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "books.inter").touch()
    with pytest.raises(DataError, match=r"looked at .*toys; there are books; put a data set"):
        locate("toys", str(tmp_path))


def test_a_path_in_place_of_a_name_is_taken_apart() -> None:
    with pytest.raises(ValueError, match=r"but got '/sets/books'; write data.root: /sets and data.name: books"):
        require_name("name", "/sets/books")
