"""Both engines take the steps of AdamW with accumulation, clipping and a schedule, and go on from a state."""

import io
import math

import pytest
import torch
from torch import nn

from trainables.language.engines.engine import make_engine
from trainables.language.engines.engine_config import EngineConfig
from trainables.trial import LocalTrial


class Small(nn.Module):
    """A frozen layer, a trained one, and one that only some losses reach."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 3)
        self.other = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.frozen(x)))


def rows(step: int, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(step)
    return torch.randn(count, 4, generator=draws), torch.randint(3, (count,), generator=draws)


def engine_of(module, folder, *, divisor=1, steps=10, **settings):
    settings = {"name": "torch", "warm_up": 2, **settings}
    trial = LocalTrial(folder, micro_batch_divisor=divisor)
    return make_engine(module, EngineConfig(**settings), learning_rate=0.05, steps=steps, trial=trial)


def train(engine, begin: int, end: int) -> list[float]:
    losses = []
    for step in range(begin, end):
        x, target = rows(step)
        parts = list(zip(x.chunk(engine.micro_batches), target.chunk(engine.micro_batches), strict=True))
        total = 0.0
        for part, wanted in parts:
            loss = nn.functional.cross_entropy(engine.module(part), wanted)
            engine.backward(loss)
            total += float(loss.detach()) / len(parts)
        engine.step()
        losses.append(total)
    return losses


def test_its_steps_are_adamw_with_clipping_and_the_schedule(tmp_path):
    module, twin = Small(), Small()
    train(engine_of(module, tmp_path, weight_decay=0.1, gradient_clipping=0.01, schedule="constant"), 0, 3)
    optimiser = torch.optim.AdamW(twin.head.parameters(), lr=0.05, weight_decay=0.1)
    for step, rate in enumerate((0.025, 0.05, 0.05)):
        x, target = rows(step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(twin(x), target).backward()
        torch.nn.utils.clip_grad_norm_(twin.head.parameters(), 0.01)
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
    torch.testing.assert_close(module.head.weight, twin.head.weight)
    assert torch.equal(module.frozen.weight, Small().frozen.weight)


@pytest.mark.parametrize("settings", [{"accumulation": 4}, {"divisor": 2, "accumulation": 2}])
def test_micro_batches_give_the_step_of_the_whole_batch(tmp_path, settings):
    whole, parts = Small(), Small()
    one, four = engine_of(whole, tmp_path), engine_of(parts, tmp_path, **settings)
    assert (one.micro_batches, four.micro_batches) == (1, 4)
    assert train(one, 0, 4) == pytest.approx(train(four, 0, 4), abs=1e-6)
    torch.testing.assert_close(whole.head.weight, parts.head.weight)


def test_micro_batches_of_unequal_size_count_by_their_share_of_the_rows(tmp_path):
    whole, parts = Small(), Small()
    train(engine_of(whole, tmp_path), 0, 1)
    engine = engine_of(parts, tmp_path, accumulation=2)
    x, target = rows(0)
    for part in (slice(0, 6), slice(6, 8)):
        loss = nn.functional.cross_entropy(engine.module(x[part]), target[part])
        engine.backward(loss, share=len(x[part]) / len(x))
    engine.step()
    torch.testing.assert_close(whole.head.weight, parts.head.weight)


def test_a_training_taken_up_from_a_state_gives_the_numbers_of_an_unbroken_one(tmp_path):
    unbroken = train(engine_of(Small(), tmp_path), 0, 8)
    first = engine_of(Small(), tmp_path)
    train(first, 0, 5)
    stored = io.BytesIO()
    torch.save(first.state(), stored)
    stored.seek(0)
    module = Small()
    for parameter in module.head.parameters():
        parameter.data.zero_()
    again = engine_of(module, tmp_path)
    again.restore(torch.load(stored, weights_only=True))
    assert train(again, 5, 8) == pytest.approx(unbroken[5:], abs=1e-6)


def test_a_state_holds_what_is_trained_and_not_what_is_frozen(tmp_path):
    engine = engine_of(Small(), tmp_path)
    train(engine, 0, 2)
    state = engine.state()
    assert state["steps"] == 2
    assert set(state["parameters"]) == {"head.weight", "head.bias", "other.weight", "other.bias"}
    assert set(state["exp_avg"]) == set(state["exp_avg_sq"]) == set(state["parameters"])


def test_a_state_before_the_first_step_restores_the_parameters(tmp_path):
    module = Small()
    module.head.weight.data.fill_(1)
    state = engine_of(module, tmp_path).state()
    again = Small()
    engine = engine_of(again, tmp_path)
    train(engine, 0, 1)
    engine.restore(state)
    assert torch.equal(again.head.weight, module.head.weight)
    assert engine.state()["exp_avg"] == {}


def test_a_state_of_another_module_is_refused(tmp_path):
    state = engine_of(Small(), tmp_path).state()
    renamed = {**state, "parameters": {"tail" if k == "head.bias" else k: v for k, v in state["parameters"].items()}}
    with pytest.raises(ValueError, match=r"but head.bias, tail are in only one of the two; start a new trial"):
        engine_of(Small(), tmp_path).restore(renamed)
    state["parameters"]["head.bias"] = torch.zeros(4)
    with pytest.raises(ValueError, match=r"head.bias must have the shape \(3,\), but got \(4,\)"):
        engine_of(Small(), tmp_path).restore(state)


def test_a_module_without_a_trained_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must have something to train, but got a module without"):
        engine_of(Small().requires_grad_(False), tmp_path)


def test_bf16_calculates_in_bf16_and_keeps_the_parameters_in_fp32(tmp_path):
    module = Small()
    engine = engine_of(module, tmp_path, precision="bf16")
    assert engine.module(rows(0)[0]).dtype == torch.bfloat16
    assert all(math.isfinite(loss) for loss in train(engine, 0, 2))
    assert module.head.weight.dtype == torch.float32
    assert set(engine.state()["parameters"]) == {"head.weight", "head.bias", "other.weight", "other.bias"}
