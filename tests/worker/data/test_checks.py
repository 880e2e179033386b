"""Problems of a data set that are found before anything starts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainables.config import ConfigError, build
from trainables.data import atomic
from trainables.data.checks import check
from trainables.data.config import Data

ITEM = "item_id:token\ttitle:token_seq\n1\tone\n2\ttwo\n"
INTER = "user_id:token\titem_id:token\nu\t1\nu\t2\nu\t1\nu\t2\n"


def data_set(root: Path, inter: str = INTER, item: str = ITEM, **fields: object) -> Data:
    folder = root / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.inter").write_text(inter)
    (folder / "toy.item").write_text(item)
    return Data(name="toy", root=str(root), **fields)  # type: ignore[arg-type]


def test_good_data_have_no_problem(tmp_path: Path) -> None:
    assert check(Data()) == []
    np.save(tmp_path / "vectors.npy", np.zeros((2, 3)))
    assert check(data_set(tmp_path)) == []
    assert check(data_set(tmp_path, text=str(tmp_path / "vectors.npy"))) == []


def test_text_vectors_that_no_run_reads_need_not_be_there(tmp_path: Path) -> None:
    data = data_set(tmp_path, INTER + "u\t3\n", text="nowhere.npy")
    assert len(check(data)) == 2
    (problem,) = check(data, text=False)
    assert "an item_id must be one of the 2 of toy.item" in problem


def test_missing_data_are_one_problem_that_says_where_it_looked(tmp_path: Path) -> None:
    (problem,) = check(Data(name="nowhere", root=str(tmp_path), text="nowhere.npy"))
    assert problem.startswith("data.name: a data set is a folder nowhere with nowhere.inter and nowhere.item")
    assert str(tmp_path / "nowhere") in problem


def test_problems_of_files_and_of_vectors_are_told_together(tmp_path: Path) -> None:
    data = data_set(tmp_path, INTER + "u\t3\n", text="toy.npy")
    np.save(tmp_path / "toy" / "toy.npy", np.zeros((5, 3)))
    lines, vectors = check(data)
    assert lines.startswith(f"{tmp_path / 'toy' / 'toy.inter'}:6: an item_id must be one of the 2 of toy.item")
    assert "must be floats of shape (2, width)" in vectors


def test_an_item_without_a_title_is_a_problem_for_a_run_that_reads_titles(tmp_path: Path) -> None:
    data = data_set(tmp_path, item="item_id:token\ttitle:token_seq\n1\tone\n2\t&nbsp;\n")
    assert check(data) == []
    (problem,) = check(data, titles=True)
    assert problem == (
        "data.name: every item must have a title, but 1 of 2 in toy.item have none, the first is 2; "
        "fill the titles or leave these items out"
    )
    (problem,) = check(data_set(tmp_path, item="item_id:token\ttitle:token_seq\n1\t\n2\t\n"))
    assert problem.startswith("data.text: tfidf needs titles of words of two letters or more, but no title has one;")


def test_a_broken_item_file_is_one_problem(tmp_path: Path) -> None:
    (problem,) = check(data_set(tmp_path, item=ITEM + "3\n"))
    assert "toy.item:4: a line must have 2 tab-separated fields (item_id, title), but got 1;" in problem


def test_a_corrected_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(data_set(tmp_path, INTER + "u\t3\n"))
    data = data_set(tmp_path)
    assert check(data) == []
    monkeypatch.setattr(atomic, "read_items", lambda path: pytest.fail("read twice"))
    assert check(data) == []


def test_a_text_source_that_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.data.text.ENCODER", "no_such_encoder_package")
    assert "did you mean 'tfidf'?" in check(Data(text="tfidff"))[0]
    assert "must be an absolute path, but got 'x.npy'; write 'tfidf' or the whole path" in check(Data(text="x.npy"))[0]
    assert "toy.npy is not there" in check(data_set(tmp_path, text="toy.npy"))[0]


TIMED = "user_id:token\titem_id:token\ttimestamp:float\nu\t1\t5\nu\t2\t\nu\t2\t\nu\t1\t6\n"


@pytest.mark.parametrize(
    ("inter", "found"),
    [(INTER, "toy.inter has no timestamp column"), (TIMED, "2 of 4 lines of toy.inter have none")],
)
def test_a_split_by_time_needs_every_timestamp(tmp_path: Path, inter: str, found: str) -> None:
    lines = inter.splitlines(keepends=True)
    more = "".join(line.replace("u", user, 1) for user in "vwxyz" for line in (lines[1], lines[-1]))
    assert "windows" in check(data_set(tmp_path, inter, split="time"))[0]
    (problem,) = check(data_set(tmp_path, inter + more, split="time"))
    assert problem == (
        f"data.split: time needs a timestamp on every interaction, but {found.replace('of 4', 'of 14')}; "
        "choose leave_one_out or users, or complete the timestamps"
    )


def test_too_little_data_for_a_split_are_found_before_anything_starts(tmp_path: Path) -> None:
    (problem,) = check(data_set(tmp_path, INTER[: -len("u\t2\n")]))
    assert problem.startswith("data.split: leave_one_out needs a user of 4 interactions or more, so that")
    assert problem.endswith("but in toy the longest of 1 users has 3; use a larger data set")
    (problem,) = check(data_set(tmp_path, split="users"))
    assert "users needs 6 users of 2 interactions or more" in problem
    assert "in toy there are 1;" in problem


def test_a_vector_of_zeros_is_no_problem_and_one_that_is_not_finite_is(tmp_path: Path) -> None:
    data = data_set(tmp_path, text="toy.npy")
    np.save(tmp_path / "toy" / "toy.npy", np.array([[0.0, 0.0], [1.0, 2.0]]))
    assert check(data) == []
    np.save(tmp_path / "toy" / "toy.npy", np.array([[0.0, 0.0], [1.0, np.nan], [0, 0]])[:2])
    assert "1 of 2 rows are not, the first is row 1 (item 2)" in check(data)[0]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("../secret", "write data.root: .. and data.name: secret"),
        ("/etc", "write data.root: / and data.name: etc"),
        ("a/b", "write data.root: a and data.name: b"),
        *((name, "rename it") for name in ("", "..", "a\0", "a" * 300, "größe")),
    ],
)
def test_a_name_that_is_a_path_is_refused(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"name must be at most 100 letters, digits, .* but got .*; {remedy}"):
        build(Data, {"name": name})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("keep_last", 3),
        ("max_history", 0),
        ("text_width", 0),
        ("train_rows", "some"),
        ("split", "random"),
        ("eval_rows", 0),
        ("split_seed", -1),
        ("held_out_rows", "first"),
    ],
)
def test_limits_of_the_fields_are_kept(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: must be"):
        build(Data, {field: value})


def test_a_check_loads_no_heavy_package(tmp_path: Path) -> None:
    data_set(tmp_path)
    code = (
        "import sys\nfrom trainables.data.checks import check\nfrom trainables.data.config import Data\n"
        f"assert check(Data(name='toy', root={str(tmp_path)!r})) == []\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'scipy', 'ray', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
