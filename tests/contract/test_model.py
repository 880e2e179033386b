"""Every trainable that keeps a model: loaded without its data set, it ranks the test rows as its trial did."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables import model as models
from trainables.config import build
from trainables.data import sequences as data_sequences
from trainables.data.splits import split
from trainables.model import ModelError, load
from trainables.runtime import registry
from trainables.runtime.worker import run_trial
from trainables.seqrec.evaluate import rank_rows
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

ROOT = Path(__file__).parents[2]
QUICK = {"fit.epochs": 1, "data.text": "tfidf", "dim": 16, "data.keep_last": 6, "data.eval_rows": 200}
PHASES = {"pretrain.epochs": 1, "align.epochs": 1}
ADAPTERS = ("morec", "unisrec", "rlmrec", "llm_esr", "whitenrec", "llminit", "alphafuse", "spectran")
BACKBONES = ("bert4rec", "hstu", "gru4rec", "caser")
METHODS = ("id", "morec", "hybrid", "ctrl", "make", "disco", "single", "smem")
NARROW = {"alphafuse": {"adapter.null_width": 8}}
CASES: list[Any] = [
    ("spectran", {**QUICK, "adapter.name": "none", "data.mask_seen": True}),
    ("pad", {**QUICK, **PHASES, "method.name": "pad"}),
    *(("floors", {"method": name}) for name in ("popularity", "transitions")),
]
SLOW = [
    *(("spectran", {**QUICK, "adapter.name": name, **NARROW.get(name, {})}) for name in ADAPTERS),
    *(("spectran", {**QUICK, "adapter.name": "none", "backbone.name": name}) for name in BACKBONES),
    *(("pad", {**QUICK, **PHASES, "method.name": name}) for name in METHODS),
]
CASES += [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """The stages that the trials share."""
    return Stages(tmp_path_factory.mktemp("stages"))


def trained(name: str, values: dict[str, Any], folder: Path, stages: Stages) -> Path:
    run_trial(name, values, LocalTrial(folder, stages=stages))
    return folder


@pytest.mark.parametrize(("name", "values"), CASES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_loaded_model_ranks_all_test_rows_as_its_trial_did(name, values, tmp_path, stages, monkeypatch):
    folder = trained(name, values, tmp_path / "trial", stages)
    with monkeypatch.context() as without:
        without.setattr(data_sequences, "load", lambda *_: pytest.fail("the data set must not be read"))
        model = load(folder)
    config = build(registry.load(name).config, values)
    sequences = data_sequences.load(config.data, stages)
    rows = split(sequences, config.data).test
    rank_N = rank_rows(model.recommender.score, rows, sequences, mask_seen=config.data.mask_seen)
    assert np.array_equal(rank_N, np.load(folder / "artifacts" / "ranks.npy")["rank"])


def test_every_trainable_keeps_a_model():
    assert {name for name in registry.names() if registry.load_recommender(name) is None} == {"hatllm"}


@pytest.fixture(scope="module")
def transitions(tmp_path_factory, stages) -> Path:
    """The folder of a trial."""
    return trained("floors", {"method": "transitions"}, tmp_path_factory.mktemp("trial"), stages)


def test_lists_are_of_the_data_sets_own_ids_best_first_without_the_history(transitions):
    model = load(transitions)
    by_id, by_number = model.recommend([model.ids[3:6]], k=7), model.recommend([[3, 4, 5]], k=7)
    assert by_id == by_number
    ((best, *rest),) = by_id
    assert len(rest) == 6
    assert best.score >= rest[0].score
    assert best.title == model.titles[list(model.ids).index(best.item)]
    assert not {each.item for each in by_id[0]} & set(model.ids[3:6])
    every = model.recommend([[3, 4, 5]], k=10**6, exclude_history=False)[0]
    assert {each.item for each in every} == set(model.ids[1:])
    assert len(model.recommend([[3, 4, 5]], k=10**6)[0]) == len(model.ids) - 4


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (
            ["nothing like it", 3, -1, 0, 10**6],
            r"history 1: .* knows, but 'nothing like it', -1, 0, 1000000 is none of",
        ),
        ([], "history 1: .* but is empty; model.ids has them all"),
    ],
)
def test_items_that_the_model_does_not_know_are_named(transitions, history, message):
    with pytest.raises(ModelError, match=message):
        load(transitions).recommend([[3], history])


def test_a_folder_that_cannot_be_loaded_says_why_and_runs_nothing(transitions, tmp_path, monkeypatch):
    def forged(**fields: Any) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(transitions, folder)
        config = json.loads((folder / "artifacts" / "config.json").read_text())
        (folder / "artifacts" / "config.json").write_text(json.dumps({**config, **fields}))
        return folder

    (tmp_path / "forged").mkdir()
    (tmp_path / "forged" / "__init__.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match="must be one of ours or be named by you, but it is 'forged'"):
        load(forged(trainable="forged"))
    with pytest.raises(ModelError, match="method: must be one of"):
        load(forged(method="other"))
    with pytest.raises(ModelError, match=r"must be the folder of a trial, with its config.json, but"):
        load(tmp_path / "nowhere")
    gone = forged()
    (gone / "artifacts" / "best.safetensors").unlink()
    with pytest.raises(ModelError, match=r"best.safetensors: must be there .*tracking.checkpoints: best keeps it"):
        load(gone)
    (gone / "artifacts" / "best.safetensors").write_bytes(b"\x80\x04pickled")
    with pytest.raises(ModelError, match=r"must be a whole recommender, but .*; copy it again"):
        load(gone)
    from safetensors.numpy import save_file

    save_file({"x": np.ones(1)}, gone / "artifacts" / "best.safetensors", {"format": "9"})
    with pytest.raises(ModelError, match="must be a recommender in format 1, but it is in 9; load it with the version"):
        load(gone)


def test_the_command_writes_the_lists_of_all_test_users(transitions, tmp_path):
    command = [sys.executable, "-m", "trainables.model", str(transitions), "--k", "3", "--out", str(tmp_path / "l.tsv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    users = len(np.load(transitions / "artifacts" / "ranks.npy"))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'l.tsv'}: {users} lists\n", "")
    head, first, *rest = (tmp_path / "l.tsv").read_text().splitlines()
    assert head == "user\trank\titem\tscore\ttitle"
    assert first.split("\t")[1] == "1"
    assert len(rest) + 1 == 3 * users


def test_the_lists_of_another_data_set_are_refused(transitions, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models.Model, "fingerprint", "0123", raising=False)
    monkeypatch.setattr(models, "load", lambda *_: _other(load(transitions)))
    assert models.main([str(transitions), "--out", str(tmp_path / "l.tsv")]) == 2
    assert "data: must be those of the model (fingerprint 0123), but are" in capsys.readouterr().err
    assert not (tmp_path / "l.tsv").exists()


def _other(model: models.Model) -> models.Model:
    model.fingerprint = "0123"
    return model
