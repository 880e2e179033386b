"""SLMRec's teacher: which settings it has, and who trains it."""

import dataclasses
from typing import Any

import pytest
from torch import nn

from tests.worker.hatllm.test_run import metrics_of
from tests.worker.small import SMALL_HATLLM
from trainables.config import build
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.hatllm.config import Config
from trainables.hatllm.parts import Ingredients
from trainables.hatllm.run import run
from trainables.hatllm.slmrec import as_teacher, teacher_settings, trained_teacher
from trainables.language.llm import borrowed, pieces
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial


class Listening(LocalTrial):
    """A trial that remembers its status lines."""

    def __init__(self, folder):
        super().__init__(folder)
        self.told = []

    def status(self, text):
        self.told.append(text)


def config_of(**values):
    small = {name: value for name, value in SMALL_HATLLM.items() if not name.startswith("method.")}
    small |= {"method.name": "slmrec", "method.student_layers": 2, "method.blocks": 2}
    return build(Config, {**small, **{name.replace("__", "."): value for name, value in values.items()}})


def ingredients_of(config, trial, sequences, base):
    prompt_pieces = pieces(config.llm, config.data, config.prompt, trial)
    return Ingredients(config, trial, sequences, split(sequences, config.data), prompt_pieces, base)


def teacher_of(config):
    unread: Any = None
    return as_teacher(Ingredients(config, unread, unread, unread, unread, unread), config.method).config


def test_the_teacher_has_the_trials_engine_but_for_deepspeeds_own_settings():
    own = {"weight_decay": 0.1, "warm_up": 7, "schedule": "cosine", "gradient_clipping": 0.5, "accumulation": 2}
    told = {**own, "precision": "bf16", "name": "deepspeed", "zero_stage": 3, "offload": "all", "file": "x.json"}
    engine = teacher_of(config_of(**{f"engine__{name}": value for name, value in told.items()})).engine
    assert {name: getattr(engine, name) for name in own} == own
    assert (engine.name, engine.precision) == ("torch", "bf16")
    assert (engine.zero_stage, engine.offload, engine.file) == (None, None, None)


@pytest.mark.parametrize(("rate", "taught"), [(None, 1e-2), (0.5, 0.5)])
def test_the_teachers_learning_rate_is_its_own_where_there_is_one(rate, taught):
    assert teacher_of(config_of(method__teacher_learning_rate=rate)).fit.learning_rate == taught


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"prompt__item_tokens": "title", "prompt__max_title_tokens": 3, "diagnostics__rows": 9}, True),
        ({"method__direction": 3.0, "method__blocks": 1, "method__student_layers": 1}, True),
        ({"prompt__verb": "read"}, False),
        ({"prompt__max_tokens": 300}, False),
        ({"engine__weight_decay": 0.1}, False),
        ({"engine__warm_up": 1}, False),
        ({"lora__rank": 2}, False),
    ],
)
def test_a_teacher_is_shared_by_trials_that_differ_in_what_it_does_not_read(values, same):
    plain, other = (teacher_settings(teacher_of(config_of(**told))) for told in (dict[str, Any](), values))
    assert (plain == other) is same


def test_a_teacher_is_trained_anew_where_corrected_times_choose_other_rows(tmp_path, with_other_times):
    config, trial = config_of(data__split="time", fit__steps=1, fit__evaluate_every=1), LocalTrial(tmp_path)
    first = load(config.data, trial.stages)
    with borrowed(config.llm, config.data, config.prompt, trial) as base:
        folders = {
            trained_teacher(ingredients_of(config, trial, made, base), config.method).folder
            for made in (first, with_other_times(first))
        }
    assert len(folders) == 2


def test_a_teacher_that_is_trained_is_read_without_a_language_model(tmp_path):
    config, trial = config_of(), Listening(tmp_path)
    sequences = load(config.data, trial.stages)
    with borrowed(config.llm, config.data, config.prompt, trial) as base:
        before = sorted(name for name, _ in base.named_modules())
        ingredients = ingredients_of(config, trial, sequences, base)
        first = trained_teacher(ingredients, config.method)
        assert sorted(name for name, _ in base.named_modules()) == before  # the adapters went into a copy
    told = [line.rpartition(" ")[0] for line in trial.told if line and not line.startswith("computes ")]
    assert told == [f"{what}, valid/ndcg_10" for what in ("SASRec: epoch 1", "SLMRec's teacher: step 3",
                                                           "SLMRec's teacher: step 6")]  # fmt: skip
    assert any("lora_B" in name for name in first)
    again = trained_teacher(dataclasses.replace(ingredients, base=nn.Identity()), config.method)
    assert again.folder == first.folder


def test_the_same_trial_on_the_warm_worker_is_the_same(tmp_path):
    stages, found = Stages(tmp_path / "stages"), []
    for folder in ("cold", "warm", "again"):
        trial = LocalTrial(tmp_path / folder, stages=stages)
        run(config_of(fit__steps=2, fit__evaluate_every=1), trial)
        found.append(metrics_of(trial))
    assert found[1] == found[0]
    assert found[2] == found[0]
