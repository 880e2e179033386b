"""Text vectors of the items' titles: one float32 row per item, row 0 (padding) zero, computed once and shared."""

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from trainables.data import atomic, synthetic
from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.packed import Packed
from trainables.data.sequences import Sequences, catalogue, item_catalogue
from trainables.exceptions import first_line
from trainables.fields import did_you_mean
from trainables.storage import cache
from trainables.storage.arrays import open_array
from trainables.storage.mirror import is_bucket
from trainables.storage.stages import File, StageResult, Stages, stage

TFIDF = "tfidf"
ENCODER = "sentence_transformers"
MODULES = "modules.json"
LARGEST_MODULES = 2**20
"""Bytes of a sentence-transformers model's list of modules, which has three or so."""
SVD_SEED = 0
NO_WORDS = (
    "data.text: tfidf needs titles of words of two letters or more, but no title has one; fill the .item file's "
    "titles, or name a .npy file in data.text"
)
AT_ONCE = 2**23
"""Numbers of text vectors that are worked on at once: 64 MiB in float64."""

Arrays = dict[str, np.ndarray]


def text_stage(sequences: Sequences, data: Data, stages: Stages) -> StageResult:
    """The stage that holds the items' text vectors as `vectors`, float32 (I, V), neither centred nor normalised.

    Stages that build on them take it as their input.

    Args:
        sequences: the items, from :func:`trainables.data.sequences.load`.
        data: ``text`` says where the vectors come from (see :class:`Data`).
        stages: keeps them; the key covers the titles or the file, never the interactions or the splits.

    Raises:
        DataError: the file is missing, of the wrong shape or not finite; the encoder is not installed.
    """
    if data.text == TFIDF:
        return stages.get(tfidf_vectors, {"titles": catalogue(data, stages), "width": data.text_width})
    if data.text.endswith(".npy"):
        inputs = {"vectors": File(locate_vectors(data)), "items": sequences.num_items - 1}
        return stages.get(file_vectors, inputs)
    model, weights = _encoder(data.text)
    return stages.get(encoder_vectors, {"titles": catalogue(data, stages), "model": model, "weights": weights})


@stage(version=1)
def tfidf_vectors(titles: Mapping[str, np.ndarray], width: int) -> Arrays:
    """Stage: TF-IDF of the titles' words, reduced by a truncated SVD with a fixed seed on one thread.

    The width is at most ``width``, and at most the number of items and of distinct words.

    Raises:
        DataError: no title has a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    texts = Packed(titles["titles"], titles["title_ends"])[1:]
    try:
        counts = TfidfVectorizer(sublinear_tf=True, dtype=np.float64).fit_transform(texts)
    except ValueError as error:
        raise DataError(NO_WORDS) from error
    with threadpool_limits(1):  # the last digits depend on the number of threads
        svd = TruncatedSVD(min(width, *counts.shape), algorithm="randomized", random_state=SVD_SEED)
        return {"vectors": _with_padding(svd.fit_transform(counts))}


@stage(version=1)
def file_vectors(vectors: Path, items: int) -> Arrays:
    """Stage: the vectors of a `.npy` file, row i = item i + 1, checked and made float32."""
    return {"vectors": _with_padding(read_vectors(vectors, items))}


@stage(version=1)
def encoder_vectors(titles: Mapping[str, np.ndarray], model: str, weights: str | None) -> Arrays:
    """Stage: what a sentence-transformers model makes of each title. ``weights`` only tells two folders apart."""
    from sentence_transformers import SentenceTransformer

    texts = Packed(titles["titles"], titles["title_ends"])[1:]
    encoded = SentenceTransformer(model).encode(texts, batch_size=64, show_progress_bar=False, convert_to_numpy=True)
    return {"vectors": _with_padding(encoded)}


def encode(name: str, model: str, root: str | None = None) -> Path:
    """Encode the titles of data set ``name`` and write the vectors beside it, as ``data.text`` names them.

    The file is ``<data set>.<model>.npy``: the last part of the model's name in lower case, without ``all-``.

    Args:
        name: folder of the data set, in ``root`` as :func:`trainables.data.atomic.locate` says.
        model: a sentence-transformers model, by name or folder.
        root: the folder above; by default $SWEEP_DATA, then ./data.

    Returns:
        The file written.

    Raises:
        DataError: the data set is missing or lies in a bucket; the model is missing or not installed.
    """
    place = root or os.environ.get("SWEEP_DATA") or ""
    if is_bucket(place):
        raise DataError(
            f"--root: must be a folder, as the vectors are written into it, but got {place}; encode a copy of "
            f"{name} in a folder and upload the .npy file"
        )
    folder = atomic.locate(name, root)
    encoder, weights = _encoder(model)
    try:
        vectors = encoder_vectors(item_catalogue(folder / f"{name}.item"), encoder, weights)["vectors"][1:]
    except OSError as error:
        raise DataError(
            f"--model: must be a sentence-transformers model, by name or folder, but {model!r} cannot be loaded "
            f"({first_line(error)}); correct the name, or name a folder that holds the model"
        ) from error
    path = folder / f"{name}.{Path(model).name.lower().removeprefix('all-')}.npy"
    draft = path.with_suffix(".draft")
    with draft.open("wb") as stream:
        np.save(stream, vectors, allow_pickle=False)
    draft.rename(path)
    return path


def read_vectors(path: Path, items: int) -> np.ndarray:
    """Return the (``items``, V) array of a `.npy` file, memory-mapped.

    Raises:
        DataError: it cannot be read, has another shape, or holds a value that is not finite.
    """
    try:
        vectors = open_array(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: text vectors must be a .npy array of numbers, but it cannot be read ({error}); "
            "write it again with numpy.save"
        ) from error
    shape = vectors.shape
    if vectors.ndim != 2 or shape[0] != items or not shape[1] or not np.issubdtype(vectors.dtype, np.floating):
        raise DataError(
            f"{path}: text vectors must be floats of shape ({items}, width), one row per item in the order of the "
            f".item file, but got {vectors.dtype} of shape {shape}; make them from this data set's titles"
        )
    with np.errstate(over="ignore"):  # 1e300 is no number of float32
        finite = np.isfinite(vectors.astype(np.float32, copy=False)).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"{path}: text vectors must be finite, but {np.count_nonzero(~finite)} of {items} rows are not, the first "
            f"is row {row} (item {row + 1}); make them again"
        )
    return vectors


def row_blocks(vectors_IV: np.ndarray) -> Iterator[slice]:
    """Slices of all rows but the padding's, ``AT_ONCE`` numbers each: at least one slice."""
    items, width = vectors_IV.shape
    rows = max(1, AT_ONCE // width)
    for start in range(1, max(items, 2), rows):
        yield slice(start, min(start + rows, items))


def locate_vectors(data: Data) -> Path:
    """Return where the `.npy` file of ``data`` lies: beside the data, unless ``text`` is an absolute path.

    Raises:
        DataError: it is not there.
    """
    path = Path(data.text)
    if not path.is_absolute():
        if data.name == synthetic.NAME:
            raise DataError(
                f"data.text: {synthetic.NAME} data lie in no folder, so a .npy file must be an absolute path, but got "
                f"{data.text!r}; write {TFIDF!r} or the whole path"
            )
        path = atomic.locate(data.name, data.root) / path
    if not path.is_file():
        names = sorted(file.name for file in path.parent.glob("*.npy"))
        raise DataError(
            f"data.text: a .npy name must be a file beside the data, but {path} is not there; "
            f"{'choose from ' + ', '.join(names) if names else f'write {TFIDF!r}, which needs no file'}"
        )
    return path


def encoder_problem(text: str) -> str | None:
    """Say why ``text`` cannot be a sentence-transformers model here, or None; downloads and imports nothing."""
    if Path(text).is_absolute() and not Path(text).is_dir():
        found = "is a file; write .npy at its end if it holds vectors" if Path(text).exists() else "is not there"
        return f"data.text: a model's path must be a folder, but {text!r} {found}; correct the path"
    if kind := _foreign_module(Path(text)):
        rule = f"a model's {MODULES} must name classes of {ENCODER} alone, as a folder's own code is never run"
        return f"data.text: {rule}, but that of {text!r} has {kind!r}; choose another model"
    if importlib.util.find_spec(ENCODER) is not None:
        return None
    hint = did_you_mean(text, [TFIDF], 'pip install -e ".[text]"')
    return (
        f"data.text: must be {TFIDF!r}, a .npy file beside the data, or a sentence-transformers model, which needs "
        f"that package, but got {text!r} and it is not installed; {hint}"
    )


def _foreign_module(folder: Path) -> str | None:
    """The first class in a model's list of modules that is not the package's own; it would be run from the folder."""
    if not (folder / MODULES).is_file():
        return None
    try:
        with (folder / MODULES).open("rb") as stream:
            kinds = [str(module["type"]) for module in json.loads(stream.read(LARGEST_MODULES))]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return first_line(error)
    return next((kind for kind in kinds if not kind.startswith(f"{ENCODER}.")), None)


def _encoder(text: str) -> tuple[str, str | None]:
    """Name of the model and, where it is a folder, what tells its content apart."""
    problem = encoder_problem(text)
    if problem:
        raise DataError(problem)
    folder = Path(text)
    return (str(folder.absolute()), cache.content(text)) if folder.is_dir() else (text, None)


def _with_padding(vectors: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), vectors.astype(np.float32)])
