"""Whole trials of HatLLM, small."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.worker.ring import ring
from tests.worker.small import SMALL_HATLLM
from trainables.config import ConfigError, build
from trainables.hatllm.config import METRICS, Config, check
from trainables.hatllm.run import run
from trainables.seqrec.recommend import read
from trainables.trial import LocalTrial


@pytest.fixture
def trained(tmp_path, stages):
    """Call with settings for the trial that they make, run."""
    count = iter(range(100))

    def make(**values):
        config = build(Config, {**SMALL_HATLLM, **{name.replace("__", "."): value for name, value in values.items()}})
        trial = LocalTrial(tmp_path / str(next(count)), seed=config.seed, stages=stages)
        run(config, trial)
        return trial

    return make


def metrics_of(trial):
    return [
        (step, {name: v for name, v in line.items() if not name.startswith("trial/")}) for step, line in trial.reports
    ]


def test_a_trial_reports_its_steps_and_the_test_split_once_at_the_best(trained):
    trial = trained()
    assert [step for step, _ in trial.reports][:2] == [3, 6]
    step, line = trial.reports[-1]
    best = max(trial.reports[:2], key=lambda report: report[1]["valid/ndcg_10"])
    assert step == best[0]
    assert {name for _, line in trial.reports for name in line if not name.startswith("trial/")} == set(METRICS)
    ranks = np.load(trial.folder / "artifacts" / "ranks.npy")
    assert len(ranks) == 40
    assert line["test/hr_10"] == pytest.approx(float((ranks["rank"] <= 10).mean()))
    weights = read(trial.folder / "artifacts" / "best.safetensors").weights
    assert line["trial/parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert all("lora_" in name or name.startswith("head.") for name in weights)


def test_the_same_trial_on_the_warm_worker_is_the_same_and_another_split_of_the_layers_is_not(trained):
    first, again = trained(), trained()
    assert metrics_of(first) == metrics_of(again)
    other = trained(method__shallow_layers=2)
    assert metrics_of(other) != metrics_of(first)
    assert metrics_of(trained(seed=1)) != metrics_of(first)


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"method.name": "hatllm", "method.shallow_layers": 0, "method.deep_layers": 0}, True),
        ({"method.name": "hatllm", "method.without": "in", "method.deep_layers": 0}, True),
        ({"method.name": "hatllm", "method.cross": "pre"}, False),
        ({"method.name": "hatllm", "method.order": "cr_or_in"}, False),
    ],
)
def test_without_masks_hatllm_is_bigrec(trained, settings, same):
    base = {name.replace(".", "__"): value for name, value in settings.items()}
    ours = trained(fit__steps=3, **base)
    config = {name: value for name, value in SMALL_HATLLM.items() if not name.startswith("method.")}
    trial = LocalTrial(ours.folder.parent / "bigrec", stages=ours.stages)
    run(build(Config, {**config, "method.name": "bigrec", "fit.steps": 3}), trial)
    assert (metrics_of(ours) == metrics_of(trial)) is same


@pytest.mark.parametrize("head", ["linear", "item_table"])
@pytest.mark.parametrize("cross", ["last", "sasrec"])
def test_with_every_head_and_cross_item_part_all_that_is_trained_moves(trained, head, cross):
    names = load_file(trained(head__name=head, method__cross=cross).folder / "artifacts" / "best.safetensors")
    assert any(name.startswith("reader.backbone") for name in names) == (cross == "sasrec")
    assert all(np.abs(array).max() > 0 for name, array in names.items() if "lora_B" in name)  # they begin with 0
    layers = {name.split("layers.")[1].split(".")[0] for name in names if "lora_" in name}
    assert layers == ({"0", "1"} if cross == "sasrec" else {"0", "1", "2"})


def test_leave_one_out_serves_data_without_times(trained):
    trial = trained(data__split="leave_one_out", fit__steps=3)
    assert 0 <= trial.reports[-1][1]["test/hr_10"] <= 1


def test_flex_attention_needs_heads_of_16():
    assert check(build(Config, {"attention": "flex", "llm.width": 64, "llm.heads": 4})) == []
    (problem,) = check(build(Config, {"attention": "flex", "llm.width": 64, "llm.heads": 8}))
    assert problem.startswith(
        "attention: flex needs heads that are 16 wide or more, but got llm.width 64 over llm.heads"
    )


def test_flex_attention_needs_a_gpu(trained):
    with pytest.raises(ValueError, match="attention: flex needs a GPU, but this trial runs on cpu; take sdpa"):
        trained(attention="flex")


def test_a_prompt_longer_than_the_limit_is_said_before_the_first_step(trained):
    with pytest.raises(
        ValueError, match=r"prompt.max_tokens must hold the instruction, one item and the response header"
    ):
        trained(prompt__max_tokens=20)


def test_rules_across_fields():
    with pytest.raises(ConfigError, match="cross: sasrec replaces the last layers, so order must be in_or_cr"):
        build(Config, {"method.cross": "sasrec", "method.order": "cr_or_in"})
    with pytest.raises(ConfigError, match="heads must divide width into even parts, but got heads 3 and width 64"):
        build(Config, {"llm.heads": 3})


def test_sasrec_in_place_of_all_layers_is_refused_and_other_methods_may_have_as_many():
    all_deep = {"llm.num_layers": 3, "method.shallow_layers": 0, "method.deep_layers": 3}
    with pytest.raises(ConfigError, match=r"^method.deep_layers must leave a layer .* 3 of llm.num_layers 3; lower"):
        build(Config, {**all_deep, "method.cross": "sasrec"})
    build(Config, {**all_deep, "method.cross": "sasrec", "method.deep_layers": 2})
    build(Config, all_deep)
    build(Config, {"llm.num_layers": 1, "method.name": "bigrec"})


def test_text_vectors_are_not_asked_for():
    assert check(build(Config, {**SMALL_HATLLM, "data.text": "/nowhere.npy"})) == []


def test_a_check_finds_the_item_without_a_title_that_every_trial_would_fail_at(tmp_path):
    ring(tmp_path, "ring", untitled=(3,))
    values = {**SMALL_HATLLM, "data.root": str(tmp_path), "data.name": "ring", "data.split": "leave_one_out"}
    (problem,) = check(build(Config, values))
    assert "every item must have a title, but 1 of 12 in ring.item have none, the first is B000000003" in problem
