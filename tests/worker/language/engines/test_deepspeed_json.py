"""A DeepSpeed JSON with our settings in it: "auto" filled, conflicts refused by both names, broken files by line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.language.engines.deepspeed_json import AUTO, merged, problems, read
from trainables.language.engines.engine_config import EngineConfig

SHIPPED = sorted((Path(__file__).parents[4] / "infra" / "deepspeed").glob("*.json"))

KEYS = (
    *("zero_optimization", "stage", "optimizer", "params", "lr", "betas", "bf16", "enabled", "type"),
    *("offload_optimizer", "device", "train_batch_size", "gradient_clipping", "scheduler", "x"),
)


@pytest.fixture
def written(tmp_path):
    """Call with a JSON's content for settings that name it."""

    def write(content, **settings):
        path = tmp_path / "x.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return EngineConfig(file=str(path), **settings)

    return write


def merge(settings, *, batch_size=16, ranks=2, divisor=1, bf16=False, learning_rate=1e-3):
    return merged(settings, learning_rate=learning_rate, batch_size=batch_size, ranks=ranks, divisor=divisor, bf16=bf16)


def found(settings, **more):
    return problems(settings, **{"learning_rate": 1e-3, "batch_size": 16, **more})


def autos(part) -> list:
    return [v for k in part for v in (autos(part[k]) if isinstance(part[k], dict) else [part[k]]) if v == AUTO]


def test_without_a_file_it_is_zero_2_with_our_clipping_and_batch_sizes():
    result = merge(EngineConfig(accumulation=4))
    assert result.config["zero_optimization"] == {"stage": 2}
    assert result.config["gradient_accumulation_steps"] == result.accumulation == 4
    assert result.config["train_micro_batch_size_per_gpu"] == 2
    assert result.config["gradient_clipping"] == 1.0
    assert result.config["bf16"] == {"enabled": False}
    assert (result.betas, result.eps) == ((0.9, 0.999), 1e-8)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_files_merge_with_any_settings_of_ours_and_leave_no_auto(path):
    settings = EngineConfig(file=f"infra/deepspeed/{path.name}", gradient_clipping=0.5, weight_decay=0.1)
    assert found(settings) == []
    result = merge(settings, bf16=True)
    assert autos(result.config) == []
    assert result.config["bf16"]["enabled"] is True
    assert result.config["gradient_clipping"] == 0.5
    assert "optimizer" not in result.config


def test_the_shipped_files_are_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert len(SHIPPED) == 2
    assert read("infra/deepspeed/zero3_offload.json")["zero_optimization"]["stage"] == 3


def test_what_only_the_file_says_is_taken(written):
    content = {
        "gradient_clipping": 0.3,
        "gradient_accumulation_steps": 2,
        "zero_optimization": {"stage": 1, "reduce_bucket_size": 7, "allgather_bucket_size": AUTO},
        "optimizer": {
            "type": "Adam",
            "params": {"betas": [0.8, 0.9], "eps": 1e-6, "lr": 1e-3, "torch_adam": True, "adam_w_mode": True},
        },
    }
    result = merge(written(content))
    assert result.config["zero_optimization"] == {"stage": 1, "reduce_bucket_size": 7}
    assert (result.config["gradient_clipping"], result.accumulation) == (0.3, 2)
    assert (result.betas, result.eps) == ((0.8, 0.9), 1e-6)


def test_after_a_lack_of_memory_the_micro_batches_are_smaller_and_more():
    result = merge(EngineConfig(accumulation=2), divisor=2)
    assert (result.config["train_micro_batch_size_per_gpu"], result.accumulation) == (2, 4)


@pytest.mark.parametrize(
    ("content", "settings", "says"),
    [
        ({"zero_optimization": {"stage": 3}}, {"zero_stage": 2}, "zero_stage 2, but got zero_optimization.stage 3"),
        ({"gradient_clipping": 2}, {"gradient_clipping": 1.0}, "gradient_clipping 1.0, but got gradient_clipping 2"),
        ({"gradient_accumulation_steps": 2}, {"accumulation": 4}, "accumulation 4, but got gradient_accumulation"),
        ({"bf16": {"enabled": True}}, {"precision": "fp32"}, "engine.precision fp32, but got bf16.enabled True"),
        ({"train_batch_size": 32}, {}, "fit.batch_size 16, but got train_batch_size 32"),
        ({"train_micro_batch_size_per_gpu": 4}, {}, "accumulation 8, but got train_micro_batch_size_per_gpu 4"),
        ({"optimizer": {"type": "AdamW", "params": {"lr": 1}}}, {}, "0.001, but got optimizer.params.lr 1"),
        (
            {"optimizer": {"type": "AdamW", "params": {"weight_decay": 0.1}}},
            {"weight_decay": 0.2},
            "engine.weight_decay 0.2, but got optimizer.params.weight_decay 0.1",
        ),
        (
            {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}},
            {"offload": "none"},
            "engine.offload none, but got zero_optimization.offload_optimizer.device cpu",
        ),
    ],
)  # fmt: skip
def test_a_conflict_is_refused_by_both_names(written, content, settings, says):
    (problem,) = found(written(content, **settings), ranks=2)
    assert problem.startswith("engine.file: must agree with ")
    assert says in problem
    assert problem.endswith('x.json; write "auto" there')
    with pytest.raises(ValueError, match="must agree with"):
        merge(written(content, **settings))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"bf16": {\n"enabled": tru}}', r"x.json:2: must be JSON, but expecting value; correct it there"),
        ("[" * 99_999, r"x.json: must be JSON, but has too many brackets, one in another; take some away"),
        ("[1]", "x.json: must be a JSON object, but got list; write {...}"),
        ({"zero_optimisation": {}}, "but got 'zero_optimisation'; did you mean 'zero_optimization'?"),
        ({"zero_optimization": 2}, "must have an object as zero_optimization, but got 2; write {...}"),
        ({"zero_optimization": {"stage": "two"}}, "an integer or \"auto\" as zero_optimization.stage, but got 'two'"),
        ({"gradient_clipping": True}, 'must have a number or "auto" as gradient_clipping, but got True'),
        ({"bf16": {"enabled": 1}}, 'must have true or false or "auto" as bf16.enabled, but got 1'),
        ({"zero_optimization": {"stage": 4}}, "must have a zero_optimization.stage of 0 to 3, but got 4"),
        ({"gradient_accumulation_steps": 0}, "must have gradient_accumulation_steps of at least 1, but got 0"),
        ({"gradient_clipping": 0}, "must have a gradient_clipping above 0, but got 0"),
        ({"scheduler": {"type": "WarmupLR"}}, "must have no scheduler, but got one; set engine.warm_up"),
        ({"fp16": {"enabled": True}}, "must leave out fp16, as nothing here scales losses, but got enabled; take bf16"),
        ({"optimizer": {"type": "Lion"}}, "must have optimizer.type AdamW, but got 'Lion'; write AdamW"),
        (
            {"torch_autocast": {"enabled": True}},
            "must leave out torch_autocast, as bf16 stands for it, but got enabled",
        ),
        ({"bf16": {"bf16_optimizer_states": True}}, "must have only enabled as bf16, whose parameters stay in fp32"),
        ({"optimizer": {"type": "Adam", "parms": {}}}, "as optimizer, but got 'parms'; did you mean 'params'?"),
        (
            {"optimizer": {"type": "AdamW", "params": {"bettas": [0.5, 0.9]}}},
            "weight_decay, torch_adam, adam_w_mode as optimizer.params, but got 'bettas'; did you mean 'betas'?",
        ),
        ({"optimizer": {"type": "AdamW", "params": {"amsgrad": True}}}, "but got 'amsgrad'; leave it out"),
        (
            {"optimizer": {"type": "Adam", "params": {"adam_w_mode": False}}},
            "must have true as optimizer.params.adam_w_mode, as engine.weight_decay is AdamW's, but got False; leave",
        ),
        ({"optimizer": {"type": "Adam", "params": {"betas": [1]}}}, "two optimizer.params.betas from 0 to below 1"),
        ({"optimizer": {"type": "Adam", "params": {"eps": -1}}}, "an optimizer.params.eps of at least 0, but got -1"),
        (
            {"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}},
            "must offload to cpu or none, but got offload_param.device 'nvme'; write cpu",
        ),
        (
            {"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}},
            "zero_stage: must be at least 3 where offload_param is cpu, but got 2; raise it",
        ),
    ],
)
def test_a_broken_file_is_said_to_be_so_before_anything_starts(written, content, says):
    assert says in "\n".join(found(written(content)))


def test_a_file_that_is_not_there_is_named():
    assert "engine.file: file must be a DeepSpeed JSON, but got 'none.json', which is no file here" in found(
        EngineConfig(file="none.json")
    )[0]  # fmt: skip


def test_every_problem_is_told_at_once(written):
    content = {"scheduler": {}, "train_batch_size": 3, "zero_optimization": {"stage": 1}, "gradient_clipping": 9}
    assert len(found(written(content, zero_stage=2, gradient_clipping=1.0))) == 4


def test_ranks_and_accumulation_must_divide_the_batch():
    assert found(EngineConfig(accumulation=3), ranks=2) == [
        "engine.accumulation: times 2 ranks must divide fit.batch_size, but got 3 and 16; change one"
    ]


def test_an_engine_without_deepspeed_has_only_its_batch_to_check():
    assert found(EngineConfig(name="torch", accumulation=4), ranks=2) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(KEYS),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).filter(lambda content: isinstance(content, dict))
)
def test_any_json_object_either_merges_or_is_refused_in_words(content):
    from trainables.language.engines.deepspeed_json import _Merging

    merging = _Merging(EngineConfig(), content)
    result = merging.merge(learning_rate=1e-3, batch_size=16, ranks=1, divisor=1, bf16=False)
    assert all(line.startswith("engine.") for line in merging.problems)
    if not merging.problems:
        assert autos(result.config) == []
        assert result.config["zero_optimization"]["stage"] in (0, 1, 2, 3)
