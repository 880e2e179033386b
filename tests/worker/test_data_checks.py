"""What is found wrong with a data set before anything starts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainables.config import ConfigError, build
from trainables.data import checks
from trainables.data.config import Data, check

ITEM = "item_id:token\ttitle:token_seq\n1\tone\n2\ttwo\n"
INTER = "user_id:token\titem_id:token\nu\t1\nu\t2\n"


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


def test_missing_data_are_one_problem_that_says_where_it_looked(tmp_path: Path) -> None:
    (problem,) = check(Data(name="nowhere", root=str(tmp_path), text="nowhere.npy"))
    assert problem.startswith("data.name: a data set is a folder nowhere with nowhere.inter and nowhere.item")
    assert str(tmp_path / "nowhere") in problem


def test_problems_of_files_and_of_vectors_are_told_together(tmp_path: Path) -> None:
    data = data_set(tmp_path, INTER + "u\t3\n", text="toy.npy")
    np.save(tmp_path / "toy" / "toy.npy", np.zeros((5, 3)))
    lines, vectors = check(data)
    assert lines.startswith(f"{tmp_path / 'toy' / 'toy.inter'}:4: an item_id must be one of the 2 of toy.item")
    assert "must be floats of shape (2, width)" in vectors


def test_a_broken_item_file_is_one_problem(tmp_path: Path) -> None:
    (problem,) = check(data_set(tmp_path, item=ITEM + "3\n"))
    assert "toy.item:4: a line must have 2 tab-separated fields (item_id, title), but got 1;" in problem


def test_a_corrected_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(data_set(tmp_path, INTER + "u\t3\n"))
    data = data_set(tmp_path)
    assert check(data) == []
    monkeypatch.setattr(checks.atomic, "read_items", lambda path: pytest.fail("read twice"))
    assert check(data) == []


def test_a_text_source_that_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.data.text.ENCODER", "no_such_encoder_package")
    assert "did you mean 'tfidf'?" in check(Data(text="tfidff"))[0]
    assert "must be an absolute path, but got 'x.npy'; write 'tfidf' or the whole path" in check(Data(text="x.npy"))[0]
    assert "toy.npy is not there" in check(data_set(tmp_path, text="toy.npy"))[0]


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".."])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name must be the plain name of a folder, but got"):
        build(Data, {"name": name})


@pytest.mark.parametrize(
    ("field", "value"), [("keep_last", 3), ("max_history", 0), ("text_width", 0), ("train_rows", "some")]
)
def test_limits_of_the_fields_are_kept(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: must be"):
        build(Data, {field: value})


def test_a_check_loads_no_heavy_package(tmp_path: Path) -> None:
    data_set(tmp_path)
    code = (
        "import sys\nfrom trainables.data.config import Data, check\n"
        f"assert check(Data(name='toy', root={str(tmp_path)!r})) == []\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'scipy', 'ray', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
