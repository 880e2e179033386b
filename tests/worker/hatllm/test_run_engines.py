"""The same trial under every engine and number format."""

from typing import Any

import numpy as np
import pytest

from tests.worker.small import SMALL_HATLLM
from trainables.config import build
from trainables.hatllm.config import Config
from trainables.hatllm.run import run
from trainables.trial import LocalTrial

METHOD = {name: value for name, value in SMALL_HATLLM.items() if name.startswith("method.")}
SHARED = {name: value for name, value in SMALL_HATLLM.items() if name not in METHOD} | {
    "data.eval_rows": 8,
    "fit.evaluate_every": 1,
    "fit.patience": 99,
    "lora.dropout": 0.0,
    "sasrec.dropout": 0.0,
}
METHODS = {
    "hatllm": METHOD,
    "cross_sasrec": METHOD | {"method.cross": "sasrec"},
    "bigrec": {"method.name": "bigrec"},
    "e4srec": {"method.name": "e4srec"},
    "llara": {"method.name": "llara", "method.curriculum": False},
    "lite_llm4rec": {"method.name": "lite_llm4rec"},
    "slmrec": {"method.name": "slmrec", "method.student_layers": 2, "method.blocks": 2},
}


def losses_of(values, folder, stages):
    """The training losses of a trial, one a step."""
    trial = LocalTrial(folder, stages=stages)
    run(build(Config, SHARED | values), trial)
    return [line["train/loss"] for _, line in trial.reports if "train/loss" in line]


@pytest.fixture(scope="module", params=METHODS)
def in_bf16(request, stages, tmp_path_factory):
    """A method's settings in bf16, and its losses under torch, which those of fp32 are not."""
    values = METHODS[request.param] | {"head.name": "linear", "fit.steps": 3, "engine.precision": "bf16"}
    torch, folder = values | {"engine.name": "torch"}, tmp_path_factory.mktemp(request.param)
    plain = losses_of(torch, folder / "bf16", stages)
    assert plain != losses_of(torch | {"engine.precision": "fp32"}, folder / "fp32", stages)
    return values, plain


@pytest.mark.slow
@pytest.mark.parametrize("stage", range(4))
def test_bf16_under_deepspeed_is_that_of_torch_for_every_method_and_stage(in_bf16, stage, tmp_path, stages):
    values, plain = in_bf16
    deepspeed = values | {"engine.name": "deepspeed", "engine.zero_stage": stage}
    np.testing.assert_allclose(losses_of(deepspeed, tmp_path, stages), plain, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"head.name": "item_table"},
        {"head.name": "linear", "engine.accumulation": 2},
        {"head.name": "item_table", "method.cross": "sasrec"},
    ],
)
def test_twenty_steps_have_the_same_losses_under_every_engine_and_the_base_stays(settings, tmp_path, stages):
    engines: list[dict[str, Any]] = [{"engine.name": "torch"}]
    engines += [{"engine.name": "deepspeed", "engine.zero_stage": stage} for stage in range(4)]
    first, *others = [
        losses_of(METHOD | {"fit.steps": 20} | settings | engine, tmp_path / str(number), stages)
        for number, engine in enumerate([*engines, engines[0]])  # torch again, on the base that ZeRO 3 took apart
    ]
    assert len(first) == 20
    assert others.pop() == first
    for found in others:
        np.testing.assert_allclose(found, first, atol=1e-4, rtol=0)
