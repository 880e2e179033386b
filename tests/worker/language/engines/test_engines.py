"""HatLLM on the tiny model: every engine and any number of ranks give the same training."""

from pathlib import Path
from typing import Any

import pytest

from trainables.config import build
from trainables.hatllm.config import Config, check
from trainables.runtime.task import Task
from trainables.runtime.worker import run_on_node
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

ENGINES = [
    {"engine.zero_stage": 0},
    {"engine.zero_stage": 1},
    {"engine.zero_stage": 2},
    {"engine.zero_stage": 3},
    {"engine.file": "infra/deepspeed/zero3_offload.json"},
]
TINY = {
    "data.eval_rows": 16,
    "data.split": "time",
    "data.keep_last": None,
    "data.max_history": 4,
    "llm.pretrain_steps": 20,
    "sasrec.epochs": 2,
    "lora.dropout": 0.0,
    "fit.steps": 20,
    "fit.evaluate_every": 2,
    "fit.patience": 20,
    "fit.batch_size": 8,
    "fit.learning_rate": 5e-3,
    "engine.name": "torch",
    "engine.warm_up": 5,
    "engine.accumulation": 2,
    "diagnostics.rows": 0,
}


def train(folder: Path, stages: Stages, ranks: int, values: dict[str, Any]) -> LocalTrial:
    where: dict[str, Any] = {"folder": str(folder), "stages": str(stages.folder), "number": 0}
    trial = LocalTrial(folder, stages=stages)
    run_on_node(Task(trainable="hatllm", values=values, ranks=ranks, cpus=float(ranks), **where), trial)
    return trial


def losses(folder: Path, stages: Stages, ranks: int = 1, **values) -> list[float]:
    engine = {"engine.name": "deepspeed"} if any(name.startswith("engine") for name in values) else {}
    trial = train(folder, stages, ranks, {**TINY, **engine, **values})
    return [metrics["train/loss"] for _, metrics in trial.reports if "train/loss" in metrics]


@pytest.fixture(scope="module")
def plain_losses(tmp_path_factory, stages):
    reported = losses(tmp_path_factory.mktemp("plain"), stages)
    assert len(reported) == 10
    return reported


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_twenty_steps_under_deepspeed_give_the_losses_of_torch(tmp_path, stages, plain_losses, engine):
    assert losses(tmp_path, stages, **engine) == pytest.approx(plain_losses, abs=1e-4)


@pytest.mark.slow
def test_two_ranks_train_as_one_does_with_the_same_batch(tmp_path, stages, plain_losses):
    """The loss that is reported is rank 0's own, so the metrics of the evaluations are compared."""
    values = {**TINY, "engine.name": "deepspeed", "engine.zero_stage": 2, "fit.evaluate_every": 10}
    one, two = train(tmp_path / "one", stages, 1, values), train(tmp_path / "two", stages, 2, values)
    for (step, metrics), (other_step, others) in zip(one.reports, two.reports, strict=True):
        assert step == other_step
        for name in set(metrics) - {"train/loss"}:
            if not name.startswith("trial/"):
                assert metrics[name] == pytest.approx(others[name], abs=1e-6), name


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "x.json:1: must be JSON"),
        ('{"gradient_clipping": 2}', "must agree with engine.gradient_clipping 1.0, but got gradient_clipping 2"),
        ('{"train_batch_size": 7}', "must agree with fit.batch_size 8, but got train_batch_size 7"),
    ],
)
def test_a_broken_deepspeed_json_is_told_before_training(tmp_path, content, says):
    path = tmp_path / "x.json"
    path.write_text(content)
    values = {**TINY, "engine.name": "deepspeed", "engine.file": str(path), "engine.gradient_clipping": 1.0}
    (problem,) = check(build(Config, values))
    assert says in problem
