"""Checks that need a GPU: all three trainables train as on a CPU, DeepSpeed in every stage, block masks."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.worker import small
from tests.worker.hatllm.test_recommender import PROMPT
from tests.worker.hatllm_models import WIDTH, model_config
from trainables.hatllm.head import LinearHead
from trainables.hatllm.reader import LastToken
from trainables.hatllm.recommender import Recommender
from trainables.language.attention import use_layered
from trainables.language.llm import adapted
from trainables.language.llm_config import Lora
from trainables.language.masks import Spans
from trainables.language.prompts import Prompt
from trainables.runtime.worker import run_trial
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

HATLLM = small.SMALL_HATLLM | {
    "data.eval_rows": 8,
    "fit.steps": 20,
    "fit.evaluate_every": 1,
    "fit.patience": 99,
    "lora.dropout": 0.0,
    "engine.precision": "fp32",
    "head.name": "linear",  # over the small table of SASRec the losses would hardly move
}
NO_MASKS = {name: value for name, value in HATLLM.items() if not name.startswith("method.")} | {"method.name": "bigrec"}
FP32, BF16 = 1e-3, 0.02
"""Largest difference of a loss from the CPU's: less than what masks change, and less than what learning changes."""
PAD = small.SMALL_PAD | {"fit.dropout": 0.0}


def losses(name: str, values: dict[str, Any], stages: Stages, device: str = "cuda:0") -> list[float]:
    """The training losses that a trial reports."""
    trial = LocalTrial(Path(tempfile.mkdtemp(dir=stages.folder.parent)), seed=0, stages=stages, device=device)
    run_trial(name, values, trial)
    return [line["train/loss"] for _, line in trial.reports if "train/loss" in line]


@pytest.fixture(scope="module")
def on_cpu(stages: Stages) -> list[float]:
    """HatLLM's losses of twenty steps, on a CPU without DeepSpeed."""
    plain = {"engine.name": "torch"}
    found = losses("hatllm", HATLLM | plain, stages, "cpu")
    for other, at_least in ((NO_MASKS, FP32), (HATLLM | {"fit.learning_rate": 1e-9}, BF16)):
        assert np.abs(np.subtract(losses("hatllm", other | plain, stages, "cpu"), found)).max() > at_least
    return found


@pytest.mark.parametrize("method", ["pad", "id", "hybrid", "make", "ctrl", "disco"])
def test_pad_and_its_peers_have_the_losses_of_a_cpu(method: str, stages: Stages) -> None:
    values = PAD | {"method.name": method}
    ours = losses("pad", values, stages)
    assert ours
    np.testing.assert_allclose(ours, losses("pad", values, stages, "cpu"), rtol=0.02)


@pytest.mark.parametrize(
    "settings",
    [
        {"engine.name": "torch"},
        *({"engine.name": "deepspeed", "engine.zero_stage": stage} for stage in range(4)),
        {"engine.name": "deepspeed", "engine.file": "infra/deepspeed/zero2.json"},
        {"engine.name": "deepspeed", "engine.zero_stage": 2, "engine.offload": "optimiser"},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_hatllm_has_the_losses_of_a_cpu_under_every_engine(
    settings: dict[str, Any], stages: Stages, on_cpu: list[float]
) -> None:
    assert len(on_cpu) == 20
    np.testing.assert_allclose(losses("hatllm", HATLLM | settings, stages), on_cpu, atol=FP32, rtol=0)


@pytest.mark.parametrize("engine", ["torch", "deepspeed"])
def test_bf16_is_a_gpus_own_format_and_stays_near(engine: str, stages: Stages, on_cpu: list[float]) -> None:
    ours = losses("hatllm", HATLLM | {"engine.precision": None, "engine.name": engine}, stages)
    assert ours != on_cpu
    np.testing.assert_allclose(ours, on_cpu, atol=BF16, rtol=0)


def test_block_masks_give_the_scores_and_gradients_of_dense_ones() -> None:
    columns = (PROMPT.spans.item_BT, PROMPT.spans.last_BT, PROMPT.spans.real_BT)
    prompt = Prompt(PROMPT.token_BT.cuda(), Spans(*(column.cuda() for column in columns)))
    config = model_config("llama", layers=2)
    config.head_dim = 16  # the least of FlexAttention
    found = []
    for flex in (False, True):
        torch.manual_seed(0)
        base = AutoModel.from_config(config).cuda().eval()
        use_layered(base)
        head = LinearHead(7, WIDTH, chunk=2, generator=torch.Generator().manual_seed(0))
        model = Recommender(
            adapted(base, Lora(), seed=0), plan=("in", "cr"), reader=LastToken(WIDTH), head=head, flex=flex
        )
        scores = model.cuda().eval()(prompt)
        scores.square().sum().backward()
        found.append([scores.detach(), *(part.grad for part in model.parameters() if part.grad is not None)])
    assert len(found[0]) > 4
    for dense, block in zip(*found, strict=True):
        torch.testing.assert_close(block, dense, atol=2e-3, rtol=2e-3)


def test_a_trial_trains_under_block_masks(stages: Stages) -> None:
    wide = HATLLM | {"engine.name": "torch", "llm.width": 32}
    ours = losses("hatllm", wide | {"attention": "flex"}, stages)
    np.testing.assert_allclose(ours, losses("hatllm", wide, stages), atol=2e-3, rtol=0)
