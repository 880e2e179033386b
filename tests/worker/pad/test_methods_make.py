"""MAKE, the single experts of §4.6.1, and text experts that are trained before: what each starts from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.worker.pad_ingredients import ingredients
from tests.worker.small import RATES, SMALL_PAD
from trainables.config import build, settings_of
from trainables.pad import phases
from trainables.pad.compose import Method, compose
from trainables.pad.config import Config
from trainables.pad.gate import FrequencyGate
from trainables.pad.make import ComplementGate
from trainables.pad.run import run
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

SMALL = SMALL_PAD | dict.fromkeys(("pretrain.epochs", "fit.epochs"), 2) | dict.fromkeys(RATES, 1e-3)


def composed(values: dict[str, Any], folder: Path, stages: Stages) -> Method:
    return compose(ingredients(build(Config, SMALL | values), folder, stages))


def trained(values: dict[str, Any], folder: Path, stages: Stages) -> list[tuple[int, dict[str, float]]]:
    trial = LocalTrial(folder, stages=stages)
    run(build(Config, SMALL | values), trial)
    return [(step, {k: v for k, v in line.items() if "trial/" not in k}) for step, line in trial.reports]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.state_dict().items())


def test_make_joins_a_text_expert_trained_before_and_a_fresh_id_expert(tmp_path: Path, stages: Stages) -> None:
    lines = trained({"method.name": "make"}, tmp_path / "make", stages)
    alone = trained({"method.name": "morec"}, tmp_path / "morec", stages)
    for (_, line), (_, alone_line) in zip(lines[:2], alone[:2], strict=True):
        assert set(line) == {f"phase1/{name}" for name in alone_line}
    assert lines[0][1]["phase1/train/loss"] > lines[1][1]["phase1/train/loss"]
    assert [step for step, _ in lines] == [1, 2, 3, 4, lines[-1][0]]
    assert lines[2][1]["train/loss"] > lines[3][1]["train/loss"]
    made = composed({"method.name": "make"}, tmp_path / "again", stages)
    fresh = composed({"method.name": "id"}, tmp_path / "id", stages)
    assert list(made.experts) == ["id", "text"]
    assert same(made.experts["id"][0], fresh.experts["id"][0])
    assert same(made.experts["id"][1], fresh.experts["id"][1])
    untrained = composed({"method.name": "morec"}, tmp_path / "text", stages)
    assert not same(made.experts["text"][0], untrained.experts["text"][0])
    assert not same(made.experts["text"][1], untrained.experts["text"][1])
    assert made.steps == 2
    assert isinstance(made.gate, FrequencyGate)


def test_the_complement_gate_shares_two_among_both_experts_by_bucket(tmp_path: Path, stages: Stages) -> None:
    gate = ComplementGate(2)
    with torch.no_grad():
        gate.scalar_B.copy_(torch.tensor([0.0, 1.0, -2.0]))
    weight_NE = gate([torch.zeros(4, 3)] * 2, torch.tensor([0, 2, 1, 2]))
    id_N = [2 / (1 + np.exp(-scalar)) for scalar in (0.0, -2.0, 1.0, -2.0)]
    np.testing.assert_allclose(weight_NE.detach(), [[x, 2 - x] for x in id_N], rtol=1e-6)
    weight_NE[:, 0].sum().backward()
    assert gate.scalar_B.grad is not None
    assert (gate.scalar_B.grad > 0).all()
    lines = trained({"method.name": "make", "method.complement": True}, tmp_path, stages)
    assert lines[2][1]["train/loss"] > lines[3][1]["train/loss"]


@pytest.mark.parametrize(
    ("kind", "equal"),
    [
        pytest.param("bce", {"method.name": "id"}, marks=pytest.mark.slow),
        pytest.param("tune", {"method.name": "smem", "method.experts": "id"}, marks=pytest.mark.slow),
        ("align_tune", {"method.name": "pad", "method.experts": "aligned"}),
    ],
)
def test_a_single_expert_reports_what_the_same_phases_of_another_method_report(
    tmp_path: Path, stages: Stages, kind: str, equal: dict[str, Any]
) -> None:
    lines = trained({"method.name": "single", "method.phases": kind}, tmp_path / "single", stages)
    assert lines == trained(equal, tmp_path / "equal", stages)
    earlier = {"bce": [], "tune": ["phase1"] * 2, "align_tune": ["phase1", "phase1", "phase2"]}[kind]
    named = [next(iter(line)).split("/")[0] for _, line in lines]
    assert [name for name in named if name.startswith("phase")] == earlier
    assert [step for step, _ in lines[:-1]] == list(range(1, len(earlier) + 3))


def test_a_tuned_single_expert_starts_from_phase_1_and_an_aligned_one_from_phase_2(
    tmp_path: Path, stages: Stages
) -> None:
    tuned = composed({"method.name": "single"}, tmp_path / "tune", stages)
    assert tuned.first is not None
    np.testing.assert_array_equal(tuned.experts["id"][0].state_dict()["table_ID"], tuned.first["item.table_ID"])
    values = {"method.name": "single", "method.phases": "align_tune"}
    weak, strong = (composed(values | {"method.gamma": g}, tmp_path / str(g), stages) for g in (0.0, 2.0))
    assert list(weak.experts) == ["aligned"]
    assert not same(weak.experts["aligned"][0], strong.experts["aligned"][0])
    assert weak.gate is None


def test_a_text_expert_that_is_trained_before_starts_where_makes_does(tmp_path: Path, stages: Stages) -> None:
    values = {"method.name": "smem", "method.pretrain_text": True}
    made = composed(values, tmp_path / "smem", stages)
    plain = composed({"method.name": "smem"}, tmp_path / "plain", stages)
    make = composed({"method.name": "make"}, tmp_path / "make", stages)
    assert same(made.experts["text"][0], make.experts["text"][0])
    assert not same(plain.experts["text"][0], make.experts["text"][0])
    assert (plain.steps, made.steps) == (3, 5)
    for name in ("id", "aligned"):
        assert same(made.experts[name][0], plain.experts[name][0])
    lines = trained(values, tmp_path / "run", stages)
    named = [next(iter(line)).split("/")[0] for _, line in lines]
    assert named[:5] == ["phase1", "phase1", "phase2", "phase1_text", "phase1_text"]
    assert [step for step, _ in lines[:-1]] == [1, 2, 3, 4, 5, 6, 7]


def test_the_text_experts_phase_1_reads_the_text_fields_too_and_the_id_experts_does_not() -> None:
    config, other = build(Config, SMALL), build(Config, SMALL | {"text.layers": 3})
    assert settings_of(config, phases.TEXT_READS) != settings_of(other, phases.TEXT_READS)
    assert settings_of(config, phases.PRETRAIN_READS) == settings_of(other, phases.PRETRAIN_READS)
