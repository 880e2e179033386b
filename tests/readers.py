"""Every reader of files that anybody may have written, with valid files and a second reading to compare with."""

import hashlib
import io
import json
import math
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from platform.errors import SweepError
from platform.space.check import open_sweep
from platform.study.storage import open_storage
from platform.sweepfile.yaml_lines import read as read_yaml
from platform.tracking.journal import TrialFiles
from tests.fuzzing import Reader
from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.dumps import FORMATS
from trainables.data.sequences import load
from trainables.storage import checkpoint
from trainables.storage.arrays import open_array
from trainables.storage.stages import Stages

ROOT = Path(__file__).parents[1]


def _either(refusal: type[Exception], *reads: Callable[[], object]) -> None:
    """Read in several ways; refused only where each is."""
    refused = []
    for read in reads:
        try:
            read()
        except refusal as error:
            refused.append(error)
    if len(refused) == len(reads):
        raise refused[0]


def _sweep(content: bytes, folder: Path) -> None:
    path = folder / "sweep.yaml"
    path.write_bytes(content)
    open_sweep(path)
    data = read_yaml(content.decode()).data
    assert read_yaml(json.dumps(data)).data == data, "what a sweep file says must not depend on how it is written"


CURVE = b"""\
name: curve
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}   # a comment
num_trials: 6
method: tpe
early_stopping: {type: asha, min_reports: 2, reduction_factor: 3}
seed: 3
parameters:
  x: {min: 0.0, max: 1.0, step: 0.25}
  width: {values: [16, 32, 64]}
  part.name:
    values: [plain, "curved"]
    when:
      curved: {part.bend: {min: 1, max: 5}}
constraints: ["x <= 0.95", 'width + 1 < 60 or x < .5']
initial_points: [&first {x: 0.5, width: 16}, *first]
limits: {max_hours: 8, max_failed_trials: null}
resources: {cpu: 1, memory: 2GiB}
"""

SHIPPED = ("spectran_taylor", "pad_kernels", "hatllm_layers", "floors")


def _shipped() -> list[bytes]:
    return [(ROOT / "sweeps" / f"{name}.yaml").read_bytes() for name in SHIPPED]


INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(
    f"u{user}\t{'abcde'[(user + step) % 5]}\t{step % 5 + 1}.0\t{1400000000 + 100 * step + user}\n"
    for user in range(4)
    for step in range(6)
)
ITEM = "item_id:token\ttitle:token_seq\tprice:float\n" + "".join(f"{name}\tThe {name} &amp; b\t1\n" for name in "abcde")


def _tables(content: bytes, folder: Path) -> None:
    """Read it as interactions, and as items."""
    _either(
        DataError,
        lambda: _atomic(content, ITEM.encode(), folder / "inter"),
        lambda: _atomic(INTER.encode(), content, folder / "item"),
    )


def _atomic(inter: bytes, item: bytes, folder: Path) -> None:
    """Load a data set, and compare each user's items with those of the lines in order of time."""
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "set.inter").write_bytes(inter)
    (folder / "set" / "set.item").write_bytes(item)
    sequences = load(Data(name="set", root=str(folder)), Stages(folder / "stages"))
    rows, ids = list(_rows(inter)), [row["item_id"] for row in _rows(item)]
    users: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in rows:
        users[row["user_id"]].append((float(row.get("timestamp") or "nan"), row["item_id"]))
    assert sequences.num_users == len(users)
    for user, met in enumerate(users.values()):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]]
        got = [ids[item - 1] for item in items]
        assert sorted(got) == sorted(name for _, name in met)
        if not any(math.isnan(time) for users_met in users.values() for time, _ in users_met):
            assert got == [name for _, name in sorted(met, key=lambda each: each[0])]


def _rows(content: bytes) -> Iterator[dict[str, str]]:
    text = content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    head, *lines = text.split("\n")
    names = [column.partition(":")[0] for column in head.split("\t")]
    return (dict(zip(names, line.split("\t"), strict=True)) for line in lines)


def _dump(kind: str, content: bytes, folder: Path) -> None:
    """Read it as events, and as titles; events of JSON are those that Python's own reader finds in each line."""
    (folder / "dump").write_bytes(content)
    _either(DataError, lambda: _events(kind, content, folder / "dump"), lambda: _titles(kind, folder / "dump"))


def _events(kind: str, content: bytes, path: Path) -> None:
    events, text = list(FORMATS[kind].events([path])), content.decode("utf-8-sig")
    if kind not in AMAZON:
        assert all(user in text and item in text for user, item, _, _ in events)
        return
    user, item, time, rating = AMAZON[kind]
    scale = 1000 if kind == "amazon-2023" else 1
    plain = [json.loads(line) for line in text.split("\n") if line.strip()]
    expected = [(each[user], each[item], each[time] / scale, float(each.get(rating, math.nan))) for each in plain]
    assert str(events) == str(expected)


def _titles(kind: str, path: Path) -> None:
    for item, title in FORMATS[kind].titles(path):
        assert item.isprintable()
        assert isinstance(title, str)


AMAZON = {
    "amazon-2014": ("reviewerID", "asin", "unixReviewTime", "overall"),
    "amazon-2018": ("reviewerID", "asin", "unixReviewTime", "overall"),
    "amazon-2023": ("user_id", "parent_asin", "timestamp", "rating"),
}
BEHAVIOURS = "".join(
    f"{n}\tU{n % 2}\t11/1{n}/2019 8:55:22 AM\tN9 N3\tN2-1 N1-0 N4-{n % 2}\n" for n in range(5)
).encode()
NEWS = "".join(f"N{n}\tsports\tgolf\tTitle {n} is Ä\tabout\thttp\t[]\t[]\n" for n in range(1, 6)).encode()


def _dumps(kind: str) -> list[bytes]:
    """Reviews and metadata, or behaviours and news."""
    if kind not in AMAZON:
        return [BEHAVIOURS, NEWS]
    user, item, time, rating = AMAZON[kind]
    write = repr if kind == "amazon-2014" else json.dumps
    reviews = [{user: f"u{n}", item: f"B{n % 3}", time: 1400000000 + n, rating: 4.0, "text": "Ä [x]"} for n in range(5)]
    products = [{item: f"B{n}", "title": f"O'Neil's \"cup\" {n}", "also": ["B1"], "price": None} for n in range(4)]
    return [_lines(reviews, json.dumps), _lines(products, write)]


def _lines(records: Sequence[dict[str, Any]], write: Callable[[Any], str]) -> bytes:
    return "".join(write(record) + "\n" for record in records).encode()


def _states() -> list[dict[str, Any]]:
    import torch

    return [{"step": step, "weights": torch.full((9,), float(step)), "best": {"at": None}} for step in (1, 2)]


def _checkpoints() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return checkpoint.save(Path(folder), _states()[1]).read_bytes()


def _checkpoint(content: bytes, folder: Path) -> None:
    """Load a folder whose newest checkpoint is damaged: it gives that one as it was saved, or the one before."""
    checkpoint.save(folder, _states()[0])
    checkpoint.save(folder, _states()[1]).write_bytes(content)
    loaded = checkpoint.load(folder)
    assert str(loaded) in map(str, _states())
    if content == _checkpoints():
        assert str(loaded) == str(_states()[1])


def _payloads() -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(_states()[1], stream)
    return stream.getvalue()


def _forged(content: bytes, folder: Path) -> None:
    """Load a checkpoint whose digest fits whatever it holds: it is a dict, or none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = checkpoint._MAGIC + hashlib.sha256(content).hexdigest().encode()
        (folder / "000000.pt").write_bytes(head + content)
        assert isinstance(checkpoint.load(folder), dict | None)


def _array(content: bytes, folder: Path) -> None:
    """Map an array: it has as many bytes as the file after its header."""
    (folder / "a.npy").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = open_array(folder / "a.npy")
    assert array.tobytes("A") == content[array.offset :]


def _arrays() -> list[bytes]:
    import numpy as np

    files = []
    for array in (np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros(5, [("user", "<i8"), ("rank", "<i4")])):
        stream = io.BytesIO()
        np.save(stream, array)
        files.append(stream.getvalue())
    return files


def _studies() -> bytes:
    import optuna

    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(None, Path(folder), lambda text: None)
        study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
        for _ in range(3):
            trial = study.ask()
            trial.report(trial.suggest_float("x", 0, 1), 1)
            study.tell(trial, trial.suggest_int("n", 1, 4))
        return (Path(folder) / "study.journal").read_bytes()


def _study(content: bytes, folder: Path) -> None:
    """Open a study's journal and look at its trials."""
    (folder / "study.journal").write_bytes(content)
    storage = open_storage(None, folder, lambda text: None)
    for study in storage.get_all_studies():
        storage.get_all_trials(study._study_id)


def _journals() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        files = TrialFiles(Path(folder), 0)
        for step in range(1, 5):
            files.append(step, {"train/loss": 1 / step, "valid/ndcg_10": math.inf if step == 3 else step / 10})
        return (files.folder / "journal.jsonl").read_bytes()


def _journal(content: bytes, folder: Path) -> None:
    """Read a trial's journal: each line has a step and metrics."""
    files = TrialFiles(folder, 0)
    files.folder.mkdir(parents=True)
    (files.folder / "journal.jsonl").write_bytes(content)
    assert all(isinstance(line["step"], int) and isinstance(line["metrics"], dict) for line in files.lines())


def readers() -> dict[str, Callable[[], Reader]]:
    """Every reader by name; each is made when it is asked for, as some need torch."""
    found: dict[str, Callable[[], Reader]] = {
        "sweep": lambda: Reader([CURVE, *_shipped()], (SweepError,), _sweep),
        "tables": lambda: Reader([INTER.encode(), ITEM.encode()], (DataError,), _tables),
        "checkpoint": lambda: Reader([_checkpoints()], (), _checkpoint),
        "forged checkpoint": lambda: Reader([_payloads()], (), _forged),
        "array": lambda: Reader(_arrays(), (ValueError,), _array),
        "study": lambda: Reader([_studies()], (SweepError,), _study),
        "journal": lambda: Reader([_journals()], (SweepError,), _journal),
    }
    return found | {kind: partial(_of_dumps, kind) for kind in FORMATS}


def _of_dumps(kind: str) -> Reader:
    return Reader(_dumps(kind), (DataError,), partial(_dump, kind))
