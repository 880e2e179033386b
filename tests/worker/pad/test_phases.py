"""PAD's phases as stages: what their keys depend on, what they leave, who trains them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch

from tests.worker.small import RATES, SMALL_PAD
from trainables.config import ConfigError, build, field_names, flatten, settings_of
from trainables.data.sequences import Sequences, load
from trainables.data.splits import split
from trainables.data.text import text_stage
from trainables.pad import phases
from trainables.pad.alignment import closeness
from trainables.pad.config import PAD, Config
from trainables.pad.run import run
from trainables.pad.training import Training
from trainables.seqrec.config import split_metrics
from trainables.seqrec.items import IdItems
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

SMALL = SMALL_PAD | {"pretrain.epochs": 2} | dict.fromkeys(RATES, 1e-3)


def other(name: str, value: Any) -> list[Any]:
    """Values of a field other than this one, likely ones first."""
    hint = field_names(Config)[name].type
    while get_origin(hint) is not None and get_origin(hint) is not Literal and hasattr(hint, "__metadata__"):
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return [choice for choice in get_args(hint) if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value + 2, value * 2]
    if isinstance(value, float):
        return [value / 2, value + 0.1]
    return [4, "elsewhere", [1, 2]]


def changed(name: str, config: Config) -> Config | None:
    """``config`` with another value of this field; None where no other is allowed."""
    flat = flatten(config)
    for value in other(name, flat[name]):
        if name.endswith(".name") and name != "data.name":
            kept = {n: v for n, v in flat.items() if n.split(".")[0] != name.split(".")[0]}
        else:
            kept = flat
        try:
            return build(Config, kept | {name: value})
        except ConfigError:
            continue
    return None


ROWS = {"split", "split_seed", "held_out_rows", "eval_rows", "mask_seen", "max_history", "keep_last"}
PHASE = {"epochs", "patience", "learning_rate", "weight_decay"}
IN_PHASE_1 = {
    *("seed", "dim", "backbone.name", "backbone.blocks", "backbone.heads", "backbone.scale"),
    *(f"data.{name}" for name in ROWS),
    *(f"pretrain.{name}" for name in PHASE),
    *(f"fit.{name}" for name in ("batch_size", "dropout", "optimiser", "matmul")),
}
IN_PHASE_2 = {
    *IN_PHASE_1,
    *("text.layers", "text.dropout", "text.length"),
    *(f"align.{name}" for name in PHASE),
    *(f"method.{name}" for name in ("arm", "gamma", "kernel", "bandwidths", "mmd_rows")),
}
"""Fields that the phases read by the paper and the code, listed here again to find a forgotten field."""


def test_each_key_changes_with_every_field_that_its_phase_reads_and_with_no_other() -> None:
    config = build(Config, {})
    first, second = settings_of(config, phases.PRETRAIN_READS), phases.align_settings(config)
    walked = set()
    for name in flatten(config):
        altered = changed(name, config)
        if altered is None:
            continue
        walked.add(name)
        assert (settings_of(altered, phases.PRETRAIN_READS) != first) == (name in IN_PHASE_1), name
        if name != "method.name":
            assert (phases.align_settings(altered) != second) == (name in IN_PHASE_2), name
    assert walked >= IN_PHASE_2 | {"method.gate", "fit.epochs", "method.experts", "data.text_width"}
    assert len(walked) > 40


@pytest.mark.parametrize(("kernel", "reads"), [("laplacian", True), ("linear", False), ("info_nce", False)])
def test_only_kernels_with_bandwidths_have_them_in_the_key_of_phase_2(kernel: str, reads: bool) -> None:
    configs = [build(Config, {"method.kernel": kernel, "method.bandwidths": w}) for w in ("adaptive", "literal")]
    one, other = map(phases.align_settings, configs)
    assert (one != other) == reads


@pytest.mark.parametrize(
    "values", [{"method.name": "smem"}, {"method.gamma": 0.0}, {"method.gamma": 0.0, "method.kernel": "linear"}]
)
def test_without_an_alignment_loss_pad_and_smem_share_phase_2(values: dict[str, Any]) -> None:
    assert phases.align_settings(build(Config, values)) == phases.align_settings(build(Config, {"method.name": "smem"}))


def pretrained(values: dict[str, Any], folder: Path) -> dict[str, np.ndarray]:
    config = build(Config, SMALL | values)
    trial = LocalTrial(folder, seed=config.seed)
    sequences = load(config.data, trial.stages)
    result = phases.phase1(config, trial, sequences, split(sequences, config.data))
    return {name: np.asarray(array) for name, array in result.items() if not name.startswith("curve")}


@pytest.mark.slow
def test_what_is_not_in_the_key_of_phase_1_does_not_change_its_weights(tmp_path: Path) -> None:
    plain = pretrained({}, tmp_path / "plain")
    unread = {
        "method.gamma": 0.9,
        "method.gate": "global",
        "method.kernel": "linear",
        "align.epochs": 7,
        "fit.epochs": 9,
    }
    unread |= {
        "fit.learning_rate": 0.1,
        "fit.weight_decay": 0.0,
        "fit.patience": 1,
        "text.layers": 3,
        "data.text_width": 8,
    }
    others = pretrained(unread, tmp_path / "others")
    assert plain.keys() == others.keys()
    assert all(np.array_equal(plain[name], others[name]) for name in plain)
    read = pretrained({"pretrain.weight_decay": 0.0}, tmp_path / "read")
    assert any(not np.array_equal(plain[name], read[name]) for name in plain)


def test_phase_1_is_trained_anew_where_corrected_times_choose_other_rows(
    tmp_path: Path, stages: Stages, with_other_times: Callable[[Sequences], Sequences]
) -> None:
    config = build(Config, SMALL | {"data.split": "time", "data.eval_rows": 20, "pretrain.epochs": 1})
    first = load(config.data, stages)
    folders = set()
    for number, sequences in enumerate((first, first, with_other_times(first))):
        trial = LocalTrial(tmp_path / str(number), stages=stages)
        folders.add(phases.phase1(config, trial, sequences, split(sequences, config.data)).folder)
    assert len(folders) == 2


def numbers(trial: LocalTrial) -> list[tuple[int, dict[str, float]]]:
    return [(step, {k: v for k, v in line.items() if "trial/" not in k}) for step, line in trial.reports]


def test_gamma_zero_equals_smem_exactly(tmp_path: Path, stages: Stages) -> None:
    results: list[Any] = []
    for values in ({"method.name": "smem"}, {"method.name": "pad", "method.gamma": 0.0}):
        trial = LocalTrial(tmp_path / str(len(results)), stages=Stages(tmp_path / f"stages{len(results)}"))
        run(build(Config, SMALL | values), trial)
        results.append(numbers(trial))
    assert results[0] == results[1]
    aligned = LocalTrial(tmp_path / "aligned", stages=stages)
    run(build(Config, SMALL | {"method.gamma": 0.5}), aligned)
    assert numbers(aligned) != results[0]


def test_a_shared_phase_is_trained_once_and_reported_by_every_trial(
    tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    original = Training.run

    def counted(self: Training, *arguments: Any, **named: Any) -> Any:
        trained.append(self.phase)
        return original(self, *arguments, **named)

    monkeypatch.setattr(Training, "run", counted)
    shared = Stages(tmp_path / "stages")
    trials = []
    for gamma in (0.1, 0.3):
        trials.append(LocalTrial(tmp_path / str(gamma), stages=shared))
        run(build(Config, SMALL | {"method.gamma": gamma}), trials[-1])
    assert len(trained) == 3  # phase 1 once, phase 2 for each gamma
    steps = [[step for step, _ in trial.reports] for trial in trials]
    assert steps[0] == steps[1] == [1, 2, 3, 4, 4]
    assert numbers(trials[0])[:2] == numbers(trials[1])[:2]
    names = [{name.split("/")[0] for name in line} for _, line in trials[1].reports]
    assert names[:3] == [{"phase1"}, {"phase1"}, {"phase2"}]
    assert "valid" in names[3]


def test_the_aligned_expert_starts_from_copies_of_phase_1(tmp_path: Path, stages: Stages) -> None:
    config = build(Config, SMALL)
    trial = LocalTrial(tmp_path, stages=stages)
    sequences = load(config.data, stages)
    first = phases.phase1(config, trial, sequences, split(sequences, config.data))
    text = text_stage(sequences, config.data, stages)
    items, backbone = phases.aligned_expert(config, sequences.num_items, text["vectors"], first)
    assert isinstance(items.ids, IdItems)
    np.testing.assert_array_equal(items.ids.table_ID.detach(), first["item.table_ID"])
    for name, tensor in backbone.state_dict().items():
        np.testing.assert_array_equal(tensor, first[f"backbone.{name}"])
    with torch.no_grad():
        items.ids.table_ID.add_(1)
    assert not np.array_equal(items.ids.table_ID.detach(), first["item.table_ID"])


@pytest.mark.parametrize("arm", ["anchored", "frozen", "non_anchored"])
def test_the_arms_of_the_alignment_change_what_the_paper_says(tmp_path: Path, stages: Stages, arm: str) -> None:
    config = build(Config, SMALL | {"method.arm": arm})
    trial = LocalTrial(tmp_path, stages=stages)
    sequences = load(config.data, stages)
    splits = split(sequences, config.data)
    text = text_stage(sequences, config.data, stages)
    first = phases.phase1(config, trial, sequences, splits)
    second = phases.phase2(config, trial, sequences, splits, text, first)
    ids_moved = not np.array_equal(second["item.ids.table_ID"], first["item.table_ID"])
    backbone_moved = not np.allclose(second["backbone.norm.weight"], first["backbone.norm.weight"])
    assert ids_moved == (arm != "frozen")
    assert backbone_moved == (arm != "non_anchored")
    reported = {name for _, line in trial.reports for name in line if name.startswith("phase2/valid")}
    assert reported == ({"phase2/valid/neg_discrepancy"} if arm == "non_anchored" else ranked("phase2"))


def ranked(phase: str) -> set[str]:
    return {f"{phase}/{name}" for name in split_metrics("valid")}


def test_without_a_recommendation_loss_the_epoch_of_the_smallest_discrepancy_is_kept(
    tmp_path: Path, stages: Stages
) -> None:
    config = build(Config, SMALL | {"method.arm": "non_anchored", "align.epochs": 4, "align.learning_rate": 0.03})
    trial = LocalTrial(tmp_path, stages=stages)
    sequences = load(config.data, stages)
    text = text_stage(sequences, config.data, stages)
    where = trial, sequences, split(sequences, config.data)
    first = phases.phase1(config, *where)
    second = phases.phase2(config, *where, text, first)
    items, backbone = phases.aligned_expert(config, sequences.num_items, text["vectors"], first)
    phases.load(items, backbone, second)
    assert isinstance(config.method, PAD)
    kept = closeness(items.eval(), config.method, config.seed)()["valid/neg_discrepancy"]
    lines = [line["phase2/valid/neg_discrepancy"] for _, line in trial.reports if "phase2/train/loss" in line]
    assert len(lines) == 4
    assert kept == pytest.approx(max(lines))


def test_a_phase_that_diverges_names_its_own_learning_rate(tmp_path: Path, stages: Stages) -> None:
    diverging = {"method.name": "make", "pretrain.learning_rate": 1.0, "text.length": 1e30}
    with pytest.raises(FloatingPointError, match=r"in epoch 1; lower pretrain\.learning_rate"):
        run(build(Config, SMALL | diverging), LocalTrial(tmp_path, stages=stages))


def test_no_phase_shuffles_as_another_or_as_the_last_one(tmp_path: Path, stages: Stages) -> None:
    config = build(Config, SMALL)
    trial = LocalTrial(tmp_path, stages=stages)
    sequences = load(config.data, stages)
    splits = split(sequences, config.data)
    purposes = ("pretrain", "pretrain text", "match", "align")
    seeds = {Training(config, "align", sequences, splits, trial, purpose=purpose).seed for purpose in purposes}
    assert len(seeds | {config.seed}) == 5


def test_phases_hand_on_their_best_epoch_also_where_the_last_ones_last_is_tested() -> None:
    best, last = (build(Config, {"fit.keep": keep}) for keep in ("best", "last"))
    assert settings_of(best, phases.PRETRAIN_READS) == settings_of(last, phases.PRETRAIN_READS)
    assert phases.align_settings(best) == phases.align_settings(last)
