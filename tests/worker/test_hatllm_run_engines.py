"""The same trial under every engine."""

import numpy as np
import pytest

from tests.worker.test_hatllm_run import SMALL
from trainables.config import build
from trainables.hatllm.config import Config
from trainables.hatllm.run import run
from trainables.stages import Stages
from trainables.trial import LocalTrial


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"head.name": "item_table"},
        {"head.name": "linear", "engine.accumulation": 2},
        {"head.name": "item_table", "method.cross": "sasrec"},
    ],
)
def test_twenty_steps_have_the_same_losses_under_every_engine_and_the_base_stays(settings, tmp_path):
    stages, losses = Stages(tmp_path / "stages"), {}
    fit = {"fit.steps": 20, "fit.evaluate_every": 1, "fit.patience": 99, "lora.dropout": 0.0, "sasrec.dropout": 0.0}
    engines = [{"engine.name": "torch"}]
    engines += [{"engine.name": "deepspeed", "engine.zero_stage": stage} for stage in range(4)]
    for engine in [*engines, engines[0]]:  # torch again at the end, on the base that ZeRO 3 took apart
        trial = LocalTrial(tmp_path / str(len(losses)) / str(engine), stages=stages)
        run(build(Config, {**SMALL, "data.eval_rows": 8, **fit, **settings, **engine}), trial)
        *steps, _ = [line for _, line in trial.reports]
        losses.setdefault(str(engine), []).append([line["train/loss"] for line in steps])
    first = losses[str(engines[0])][0]
    assert len(first) == 20
    assert losses[str(engines[0])][1] == first
    for engine in engines:
        np.testing.assert_allclose(losses[str(engine)][0], first, atol=1e-4, rtol=0)
