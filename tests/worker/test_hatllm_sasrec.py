"""The item table: which settings it depends on."""

import pytest

from trainables.config import build, settings_of
from trainables.hatllm.config import Config
from trainables.hatllm.sasrec import READS


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
    plain, other = (settings_of(build(Config, told), READS) for told in ({}, values))
    assert (plain == other) is same
