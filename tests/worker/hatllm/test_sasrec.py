"""The item table: which settings it depends on."""

from typing import Any

import pytest

from tests.worker.small import SMALL_HATLLM
from trainables.config import build, settings_of
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.hatllm.config import Config
from trainables.hatllm.sasrec import READS, table_of
from trainables.trial import LocalTrial


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"data.name": "other", "data.text_width": 3, "head.name": "linear", "fit.steps": 5, "lora.rank": 2}, True),
        ({"seed": 1}, False),
        ({"data.max_history": 3}, False),
        ({"data.mask_seen": True}, False),
        ({"sasrec.dropout": 0.1}, False),
    ],
)
def test_the_table_depends_on_the_rows_the_seed_and_its_own_settings_alone(values, same):
    plain, other = (settings_of(build(Config, told), READS) for told in (dict[str, Any](), values))
    assert (plain == other) is same


def test_the_table_is_trained_anew_where_corrected_times_choose_other_rows(tmp_path, with_other_times):
    config, trial = build(Config, {**SMALL_HATLLM, "data.split": "time"}), LocalTrial(tmp_path)
    first = load(config.data, trial.stages)
    tables = [table_of(config, trial, made, split(made, config.data)) for made in (first, with_other_times(first))]
    assert tables[0].folder != tables[1].folder
