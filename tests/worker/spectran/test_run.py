"""A whole SpecTran trial: what it reports and leaves behind, resumption, ablations, and real data."""

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tests.worker.small import SMALL_SPECTRAN
from trainables.backbones.config import Backbone
from trainables.config import ConfigError, build, field_names
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.seqrec.config import METRICS, final_metrics
from trainables.seqrec.recommend import read
from trainables.spectran import config as spectran_config
from trainables.spectran.adapters.config import Adapter
from trainables.spectran.adapters.spectran import SpectralItems
from trainables.spectran.config import Config, check
from trainables.spectran.items import make_items
from trainables.spectran.run import run
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial, TrialStopped

SMALL = SMALL_SPECTRAN | {"adapter.inner_width": 8, "fit.epochs": 2, "fit.batch_size": 512}


def numbers(trial: LocalTrial) -> list[tuple[int, dict[str, float]]]:
    return [(step, {k: v for k, v in line.items() if not k.startswith("trial/")}) for step, line in trial.reports]


def test_reports_every_epoch_and_the_test_split_once(tmp_path: Path, stages: Stages) -> None:
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, SMALL), trial)
    *epochs, (best_step, test) = trial.reports
    assert [step for step, _ in epochs] == [1, 2]
    names = {name for _, line in trial.reports for name in line}
    costs = {"trial/examples_per_second", "trial/seconds", "trial/parameters", "trial/inference_seconds"}
    assert names == {*METRICS, *costs, "trial/top_10_share", "trial/principal_weight", "trial/subordinate_weight"}
    assert not any(name.startswith("test/") for _, line in epochs for name in line)
    assert {name for name in test if name.startswith("test/")} == set(final_metrics())
    assert best_step == max(epochs, key=lambda report: report[1]["valid/ndcg_20"])[0]
    table = np.load(trial.artifact("ranks.npy"), allow_pickle=False)
    assert test["test/hr_10"] == pytest.approx(np.mean(table["rank"] <= 10))
    assert len(set(table["user"])) == len(table)


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 2)])
def test_the_test_line_stands_at_the_epoch_whose_weights_are_tested(
    tmp_path: Path, stages: Stages, keep: str, epoch: int
) -> None:
    """Steps too small to change a weight: the first epoch stays the best."""
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, SMALL | {"fit.learning_rate": 1e-30, "fit.keep": keep}), trial)
    assert [step for step, _ in trial.reports] == [1, 2, epoch]


def test_best_weights_are_named_and_complete(tmp_path: Path, stages: Stages) -> None:
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, SMALL | {"fit.epochs": 1}), trial)
    weights = read(trial.artifact("best.safetensors")).weights
    assert weights["item.query_DK"].shape == (16, 8)
    assert not weights["item.id_IC"][0].any()
    assert "backbone.position_LD" in weights
    trained = sum(tensor.numel() for tensor in weights.values())
    assert trial.reports[-1][1]["trial/parameters"] == trained


def test_a_stopped_and_resumed_trial_gives_the_same_numbers(tmp_path: Path, stages: Stages) -> None:
    config = build(Config, SMALL | {"fit.epochs": 3, "seed": 5})
    whole = LocalTrial(tmp_path / "whole", seed=5, stages=stages)
    run(config, whole)

    def stop(step: int, metrics: dict[str, float], last: bool) -> None:
        if step == 2:
            raise TrialStopped

    part = LocalTrial(tmp_path / "part", seed=5, stages=stages, send=stop)
    with pytest.raises(TrialStopped):
        run(config, part)
    rest = LocalTrial(tmp_path / "part", seed=5, attempt=1, stages=stages)
    run(config, rest)
    assert numbers(part)[:1] + numbers(rest) == numbers(whole)


def test_a_trial_with_nothing_left_to_do_reports_its_last_line_again_and_ends(tmp_path: Path, stages: Stages) -> None:
    config = build(Config, SMALL)
    first = LocalTrial(tmp_path, stages=stages)
    run(config, first)
    again = LocalTrial(tmp_path, attempt=1, stages=stages)
    run(config, again)
    assert numbers(again) == numbers(first)[-1:]


@pytest.mark.parametrize(
    "values",
    [
        {"adapter.name": "none"},
        {"adapter.attention": False, "adapter.position": "singular_values"},
        {"adapter.position": "identity", "adapter.fusion": "null_space", "adapter.null_width": 4},
        {"adapter.position": "none", "backbone.heads": 4, "backbone.blocks": 1, "backbone.scale": False},
        {"objective.similarity": "cosine", "objective.temperature": 0.07, "objective.exclude": "history"},
        {"data.train_rows": "all", "data.mask_seen": True, "adapter.center": False, "adapter.normalise": False},
        {"data.split": "users", "adapter.fusion": "concat", "adapter.null_width": 4, "adapter.threshold": "row"},
        {"data.split": "time", "adapter.fusion": "init", "adapter.coefficients": "component"},
    ],
    ids=lambda values: " ".join(map(str, values.values())),
)
def test_every_setting_trains(tmp_path: Path, stages: Stages, values: dict[str, object]) -> None:
    if values.get("adapter.name") == "none":
        values = {name: value for name, value in SMALL.items() if not name.startswith("adapter.")} | values
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, {**({} if "adapter.name" in values else SMALL), **values, "fit.epochs": 1}), trial)
    assert math.isfinite(trial.reports[0][1]["train/loss"])
    assert 0 < trial.reports[1][1]["test/hr_20"] < 1


ADAPTERS = [settings().name for settings in get_args(Adapter)]
BACKBONES = [settings().name for settings in get_args(Backbone)]


@pytest.mark.parametrize(
    ("adapter", "backbone"),
    [  # a row and a column of the square are quick enough
        pytest.param(adapter, backbone, marks=[] if adapter == "spectran" or backbone == "sasrec" else pytest.mark.slow)
        for adapter, backbone in itertools.product(ADAPTERS, BACKBONES)
    ],
)
def test_every_adapter_learns_under_every_backbone(tmp_path: Path, stages: Stages, adapter: str, backbone: str) -> None:
    values: dict[str, Any] = {"adapter.name": adapter, "backbone.name": backbone}
    values |= {"dim": 16, "data.text_width": 32, "fit.batch_size": 64, "fit.dropout": 0.1, "fit.epochs": 2}
    values |= {"adapter.null_width": 8} if adapter == "alphafuse" else {}
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, values), trial)
    first, last = trial.reports[0][1], trial.reports[1][1]
    assert last["train/loss"] < first["train/loss"]


@pytest.mark.parametrize("backbone", ["bert4rec", "hstu"])
def test_other_backbones_resume_with_the_same_numbers_too(tmp_path: Path, stages: Stages, backbone: str) -> None:
    config = build(Config, SMALL | {"backbone.name": backbone, "adapter.fusion": "concat", "adapter.null_width": 4})
    whole = LocalTrial(tmp_path / "whole", stages=stages)
    run(config, whole)

    def stop(step: int, metrics: dict[str, float], last: bool) -> None:
        if step == 2:
            raise TrialStopped

    with pytest.raises(TrialStopped):
        run(config, LocalTrial(tmp_path / "part", stages=stages, send=stop))
    rest = LocalTrial(tmp_path / "part", attempt=1, stages=stages)
    run(config, rest)
    assert numbers(rest) == numbers(whole)[1:]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_spectrum_is_mapped_from_the_shared_file_not_copied(tmp_path: Path, stages: Stages) -> None:
    config, trial = build(Config, SMALL), LocalTrial(tmp_path, stages=stages)
    sequences = load(config.data, stages)
    items = make_items(config, sequences, split(sequences, config.data).train, trial)
    assert isinstance(items, SpectralItems)
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(end, 16) for end in line.split()[0].split("-"))
        if low <= items.left_IR.data_ptr() < high:
            assert line.endswith("left_IR.npy")
            return
    pytest.fail("the spectrum lies in no mapping of this process")


def test_the_padding_item_stays_zero_through_training(tmp_path: Path, stages: Stages) -> None:
    from safetensors.torch import load_file

    values = {name: value for name, value in SMALL.items() if not name.startswith("adapter.")}
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, values | {"adapter.name": "none", "fit.weight_decay": 1e-4}), trial)
    table_ID = load_file(trial.artifact("best.safetensors"))["item.table_ID"]
    assert not table_ID[0].any()
    assert table_ID[1:].abs().min(dim=1).values.gt(0).any()


def test_the_text_helps_on_synthetic_data(tmp_path: Path, stages: Stages) -> None:
    best = {}
    for adapter in ("none", "spectran"):
        trial = LocalTrial(tmp_path / adapter, stages=stages)
        values = {"dim": 64, "adapter.name": adapter, "fit.epochs": 6}
        run(build(Config, values), trial)
        best[adapter] = max(line["valid/ndcg_20"] for _, line in trial.reports[:-1])
    assert best["spectran"] > best["none"]


def test_more_dimensions_than_the_text_has_are_refused_before_and_in_a_run(tmp_path: Path, stages: Stages) -> None:
    config = build(Config, {"dim": 64, "data.text_width": 32})
    assert check(config) == [
        "dim: must be at most the rank of the text vectors, which is 32 or less, but got 64; "
        "lower dim or use wider text vectors (data.text, data.text_width)"
    ]
    with pytest.raises(ValueError, match="dim must be at most the rank of the text vectors, but got dim 64 and rank"):
        run(config, LocalTrial(tmp_path, stages=stages))
    assert check(build(Config, {"dim": 64, "data.text_width": 32, "adapter.name": "none"})) == []


def test_without_an_adapter_text_vectors_are_not_asked_for(tmp_path: Path, stages: Stages) -> None:
    values = {"dim": 16, "data.text": "/nowhere.npy", "fit.epochs": 1}
    assert "/nowhere.npy is not there" in check(build(Config, values))[0]
    config = build(Config, values | {"adapter.name": "none"})
    assert check(config) == []
    run(config, LocalTrial(tmp_path, stages=stages))


def test_the_defaults_are_the_papers() -> None:
    config = Config()
    assert (config.dim, config.fit.batch_size, config.fit.learning_rate, config.fit.epochs) == (128, 256, 1e-3, 200)
    assert (config.fit.patience, config.data.max_history, config.objective.negatives) == (10, 10, 64)
    assert (config.backbone.blocks, config.backbone.heads) == (2, 1)
    assert check(config) == []


def test_rules_across_fields_are_said_with_both_values() -> None:
    with pytest.raises(ConfigError, match=r"backbone.heads must divide dim, but got backbone.heads 3 and dim 128"):
        build(Config, {"backbone.heads": 3})
    with pytest.raises(ConfigError, match=r"adapter.null_width must be at most dim, but got 64 with dim 32"):
        build(Config, {"dim": 32, "adapter.fusion": "null_space"})
    with pytest.raises(ConfigError, match="spectran"):
        build(Config, {"adapter.name": "none", "adapter.taylor_order": 2})


def test_every_field_says_what_it_is() -> None:
    undocumented = [name for name, field in field_names(Config).items() if not field.doc and not name.endswith(".name")]
    assert undocumented == []


def test_a_check_takes_no_torch() -> None:
    code = (
        "import sys; from trainables.spectran.config import Config, check; check(Config()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'ray', 'mlflow', 'sklearn')))"
    )
    root = Path(spectran_config.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_trains_on_a_gpu(tmp_path: Path, stages: Stages) -> None:
    trial = LocalTrial(tmp_path, stages=stages, device="cuda:0")
    run(build(Config, SMALL | {"data.mask_seen": True}), trial)
    assert 0 < trial.reports[-1][1]["test/hr_20"] < 1


def test_learns_on_office(tmp_path: Path, real_data: Path) -> None:
    name = "amazon-office-2014"
    values = {"data.root": str(real_data), "data.name": name, "data.text": f"{name}.minilm-l6-v2.npy", "fit.epochs": 2}
    assert check(build(Config, values)) == []
    trial = LocalTrial(tmp_path)
    run(build(Config, values), trial)
    assert trial.reports[-1][1]["test/hr_20"] > 0.06  # popularity alone reaches .038
    assert len(np.load(trial.artifact("ranks.npy"))) == 4895
