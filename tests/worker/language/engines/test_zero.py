"""DeepSpeed takes the steps that torch takes, at every stage, and gives the module back as it was."""

import gc
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables.language.engines.engine import make_engine
from trainables.language.engines.engine_config import EngineConfig
from trainables.trial import LocalTrial

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
STAGES: list[dict[str, Any]] = [
    {"name": "torch"},
    {"zero_stage": 0},
    {"zero_stage": 1},
    {"zero_stage": 2},
    {"zero_stage": 3},
    {"zero_stage": 2, "offload": "optimiser"},
    {"file": "infra/deepspeed/zero2.json"},
    {"file": "infra/deepspeed/zero3_offload.json"},
]


class Layered(nn.Module):
    """A frozen layer between two trained ones, and a trained one that no loss reaches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.frozen, self.head = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        self.unused = nn.Linear(3, 3)
        self.frozen.requires_grad_(False)
        self.scale: torch.Tensor
        self.register_buffer("scale", torch.tensor(0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.frozen(torch.tanh(self.first(x)))) * self.scale)


def engine_of(module, folder, **settings):
    config = EngineConfig(**{"warm_up": 3, "weight_decay": 0.1, "accumulation": 2, **settings})
    return make_engine(module, config, learning_rate=0.05, steps=20, trial=LocalTrial(folder), batch_size=8)


def train(engine, begin, end) -> list[float]:
    losses = []
    for step in range(begin, end):
        draws = torch.Generator().manual_seed(step)
        x, target = torch.randn(8, 6, generator=draws), torch.randint(5, (8,), generator=draws)
        total = 0.0
        for part, wanted in zip(x.chunk(engine.micro_batches), target.chunk(engine.micro_batches), strict=True):
            loss = nn.functional.cross_entropy(engine.module(part).float(), wanted)
            engine.backward(loss)
            total += float(loss.detach()) / engine.micro_batches
        engine.step()
        losses.append(total)
    return losses


@pytest.fixture(scope="module")
def plain_losses(tmp_path_factory):
    return train(engine_of(Layered(), tmp_path_factory.mktemp("plain"), name="torch"), 0, 20)


@pytest.mark.parametrize("settings", STAGES[1:], ids=str)
def test_twenty_steps_give_the_losses_of_the_engine_without_it(tmp_path, plain_losses, settings):
    engine = engine_of(Layered(), tmp_path, **settings)
    assert train(engine, 0, 20) == pytest.approx(plain_losses, abs=1e-4)
    engine.close()


def test_a_state_of_any_engine_and_stage_is_carried_on_under_any_other(tmp_path, plain_losses):
    """On one module, as in a worker that keeps its base model between trials."""
    module = Layered()
    states: list[Any] = []
    for settings in STAGES:
        module.load_state_dict(Layered().state_dict())
        engine = engine_of(module, tmp_path, **settings)
        train(engine, 0, 7)
        trial = LocalTrial(tmp_path / str(len(states)))
        trial.save(engine.state())
        states.append(trial.load())
        engine.close()
    for settings in STAGES:
        for state in states:
            for parameter in (*module.first.parameters(), *module.head.parameters()):
                parameter.data.zero_()
            engine = engine_of(module, tmp_path, **settings)
            gc.collect()  # the engine before is gone, and took nothing of this one along
            engine.restore(state)
            assert train(engine, 7, 9) == pytest.approx(plain_losses[7:9], abs=1e-4), settings
            engine.close()


@pytest.mark.parametrize("settings", [{"zero_stage": 2}, {"zero_stage": 3}], ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_module_comes_back_whole_in_its_own_format_with_nothing_hung_into_it(tmp_path, settings, precision):
    module, before = Layered(), Layered()
    engine = engine_of(module, tmp_path, precision=precision, **settings)
    losses = train(engine, 0, 3)
    assert all(math.isfinite(loss) for loss in losses)
    state = engine.state()
    engine.close()
    assert torch.equal(module.frozen.weight, before.frozen.weight)
    assert module.scale.dtype == torch.float32
    assert torch.equal(module.scale, before.scale)
    assert all(p.dtype == torch.float32 and not vars(p) and p.grad is None for p in module.parameters())
    for part, untouched in zip(module.modules(), before.modules(), strict=True):
        assert set(vars(part)) == set(vars(untouched))
        assert type(part._parameters) is dict
        assert not any(value for name, value in vars(part).items() if "hook" in name)
    torch.testing.assert_close(module.head.weight, state["parameters"]["head.weight"], atol=0.01, rtol=0.01)


@pytest.mark.parametrize("training", [True, False])
def test_what_a_forward_pass_under_zero_3_dies_of_is_what_is_told_and_the_module_comes_back(tmp_path, training):
    class Failing(Layered):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.frozen.register_forward_pre_hook(self._fail)  # after DeepSpeed fetched its parameters
            return super().forward(x)

        def _fail(self, *_: object) -> None:
            raise torch.OutOfMemoryError("out of memory in the middle")

    module, before = Failing(), Layered()
    engine = engine_of(module, tmp_path, zero_stage=3)
    engine.module.train(training)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory in the middle"):  # noqa: PT012
        try:
            engine.module(torch.zeros(2, 6))
        finally:
            engine.close()
    for parameter, untouched in zip(module.parameters(), before.parameters(), strict=True):
        assert torch.equal(parameter, untouched)
        assert not vars(parameter)


def test_a_state_before_the_first_step_restores_the_parameters(tmp_path, plain_losses):
    for settings in STAGES:
        module = Layered()
        engine = engine_of(module, tmp_path, **settings)
        start = engine.state()
        assert start["exp_avg"] == {}
        train(engine, 0, 2)
        engine.restore(start)
        assert train(engine, 0, 3) == pytest.approx(plain_losses[:3], abs=1e-4), settings
        engine.close()


def test_a_value_that_deepspeed_refuses_is_said_to_be_the_files(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2, "reduce_bucket_size": "many"}}))
    module = Layered()
    with pytest.raises(ValueError, match=r"must be a JSON that DeepSpeed takes, but DeepSpeed says: (.|\n)*reduce"):
        engine_of(module, tmp_path, file=str(path))
    train(engine_of(module, tmp_path, name="torch"), 0, 1)


def test_on_a_cpu_it_needs_neither_a_compiler_nor_ninja(tmp_path):
    """In a process whose PATH holds nothing and whose cache of compiled ops is empty."""
    code = (
        "import torch\n"
        "from tests.worker.language.engines.test_zero import Layered, Path, engine_of, train\n"
        f"print(len(train(engine_of(Layered(), Path({str(tmp_path)!r}), zero_stage=2), 0, 2)))\n"
    )
    environment = {"PATH": "", "TORCH_EXTENSIONS_DIR": str(tmp_path / "ops"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1:] == ["2"], done.stderr
    assert not (tmp_path / "ops").exists()
