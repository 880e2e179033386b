"""PAD's settings: what is refused, what `check` finds before a trial starts, and what a trial reports."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from tests.worker.small import SMALL_PAD
from trainables.config import ConfigError, build, field_names
from trainables.data.atomic import DataError
from trainables.pad.config import METRICS, Config, check
from trainables.pad.run import run
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

METHODS = tuple(choice.__dataclass_fields__["name"].default for choice in get_args(get_type_hints(Config)["method"]))


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(Config, values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method.gamma": -0.1}, r"method.gamma: must be at least 0"),
        ({"method.buckets": 0}, r"method.buckets: must be at least 1"),
        ({"method.mmd_rows": 1}, r"method.mmd_rows: must be at least 2"),
        ({"method.kernel": "gauss"}, r"but got 'gauss'; did you mean gaussian?"),
        ({"method.name": "smem", "method.gamma": 0.1}, "it belongs to method.name: single or pad"),
        ({"method.name": "disco", "method.sufficiency": -1.0}, "method.sufficiency: must be at least 0"),
        ({"method.name": "ctrl", "method.temperature": 0.0}, "method.temperature: must be above 0"),
        ({"text.layers": 0}, "text.layers: must be at least 1"),
        ({"dim": 30, "backbone.heads": 4}, "backbone.heads must divide dim, but got backbone.heads 4 and dim 30"),
        (
            {"backbone.name": "caser", "backbone.heights": [2, 9], "data.max_history": 8},
            "backbone.heights must be at most data.max_history, but got 9 and 8",
        ),
        (
            {"method.arm": "non_anchored", "method.gamma": 0.0},
            "method: gamma must be above 0 under arm non_anchored, which has no other loss, but got 0.0",
        ),
        (
            {"method.arm": "frozen", "method.gamma": 0.0},
            "method: gamma must be above 0 under arm frozen, which holds IDs fixed for that loss, but got 0.0",
        ),
        (
            {"data.train_rows": "all"},
            "data.train_rows must be last, as PAD trains on every position of a row already, but got 'all'",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_field_and_value(values: dict[str, Any], message: str) -> None:
    assert message in refusal(values)


def test_the_defaults_can_start_and_every_field_says_what_it_is() -> None:
    assert check(build(Config, {})) == []
    undocumented = [name for name, field in field_names(Config).items() if not field.doc and not name.endswith(".name")]
    assert undocumented == []


def shop(root: Path, items: int, users: int = 30, length: int = 6) -> dict[str, Any]:
    """A data set of so many items, as values."""
    (root / "shop").mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{u}\ti{(u + step) % items}\t{step}" for u in range(users) for step in range(min(length, items))]
    (root / "shop" / "shop.inter").write_text("\n".join(lines) + "\n")
    titles = [f"i{i}\tgreen tea number{'abcdefghijklmnopqrstuvwxyz'[i % 26]}x" for i in range(items)]
    (root / "shop" / "shop.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *titles]) + "\n")
    return {"data.name": "shop", "data.root": str(root)}


def test_too_few_items_are_found_before_anything_starts(tmp_path: Path) -> None:
    values = shop(tmp_path, 12)
    assert check(build(Config, values | {"data.max_history": 5})) == []
    assert check(build(Config, values | {"data.max_history": 5, "method.buckets": 13})) == [
        "method.buckets: must be at most the number of items, 12, but got 13; "
        "lower method.buckets or use a larger data set"
    ]
    (problem,) = check(build(Config, values))
    assert "negatives need an item outside a row's history and target, but got 12 items and max_history 20" in problem
    few = shop(tmp_path / "few", 8)
    (problem,) = check(build(Config, few | {"method.buckets": 2, "data.max_history": 4}))
    assert "warm, median and cold items need a data set of 10 items or more, but got 8" in problem
    (problem,) = check(build(Config, few | {"method.name": "id", "data.max_history": 4}))
    assert "warm, median and cold" in problem


@pytest.mark.parametrize("history", [38, 39])
def test_the_bound_on_max_history_is_where_training_fails(tmp_path: Path, history: int) -> None:
    values = (
        SMALL_PAD | shop(tmp_path / "data", 40, users=40, length=9) | {"method.name": "id", "data.max_history": history}
    )
    config = build(Config, values)
    trial = LocalTrial(tmp_path / "trial")
    if history == 38:
        assert check(config) == []
        run(config, trial)
        assert "test/hr_10_cold" in trial.reports[-1][1]
    else:
        assert len(check(config)) == 1
        with pytest.raises(ValueError, match="negatives need more items than a row excludes"):
            run(config, trial)


def test_a_bucket_that_gets_no_item_is_found_before_anything_is_trained(tmp_path: Path, stages: Stages) -> None:
    trial = LocalTrial(tmp_path, stages=stages)
    with pytest.raises(DataError, match=r"each of 120 buckets needs an item, but bucket 102 gets none"):
        run(build(Config, SMALL_PAD | {"method.buckets": 120}), trial)
    assert trial.reports == []


def test_text_vectors_that_are_missing_or_of_another_length_are_found(tmp_path: Path) -> None:
    values = shop(tmp_path, 12) | {"data.text": "vectors.npy", "data.max_history": 5}
    (problem,) = check(build(Config, values))
    assert "vectors.npy" in problem
    np.save(tmp_path / "shop" / "vectors.npy", np.ones((11, 4), np.float32))
    (problem,) = check(build(Config, values))
    assert "12" in problem
    assert "11" in problem


@pytest.mark.parametrize("values", [{"method.name": "id"}, {"method.name": "single", "method.phases": "bce"}])
def test_methods_on_ids_alone_ask_for_no_text_vectors(tmp_path: Path, values: dict[str, Any]) -> None:
    missing = SMALL_PAD | shop(tmp_path, 40, users=40, length=9) | {"data.text": "nowhere.npy"}
    assert len(check(build(Config, missing | {"method.name": "single"}))) == 1
    config = build(Config, missing | values)
    assert check(config) == []
    run(config, LocalTrial(tmp_path / "trial"))


def test_a_data_set_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    (problem,) = check(build(Config, {"data.name": "nowhere", "data.root": str(tmp_path)}))
    assert "nowhere" in problem


@pytest.mark.parametrize("method", METHODS)
def test_every_method_reports_all_metrics_and_no_other(tmp_path: Path, stages: Stages, method: str) -> None:
    trial = LocalTrial(tmp_path, stages=stages)
    run(build(Config, SMALL_PAD | {"method.name": method}), trial)
    names = {name for _, line in trial.reports for name in line if not name.startswith(("phase", "trial/"))}
    assert names == set(METRICS)


def test_the_methods_are_those_of_table_2_and_the_single_experts() -> None:
    assert METHODS == ("id", "hybrid", "morec", "ctrl", "make", "disco", "smem", "single", "pad")
    assert [field.name for field in fields(Config)][:3] == ["seed", "dim", "data"]


def test_the_settings_load_without_torch() -> None:
    code = "import sys, trainables.pad.config as c; c.check(c.Config()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
