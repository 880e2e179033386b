"""A sweep's folder."""

import pytest

from platform.errors import InvalidSweep
from platform.storage import open_folder


def test_the_folder_is_absolute_named_after_the_sweep_and_left_empty(sweep, tmp_path):
    assert sweep("name=other").folder == tmp_path / "runs" / "other"
    assert list((tmp_path / "runs" / "other").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_with_the_reason_and_the_remedy(sweep, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InvalidSweep) as refused:
        sweep(f"storage={tmp_path}/taken")
    (problem,) = refused.value.problems
    assert problem.endswith(
        f"storage: must be a folder that can be written, but {tmp_path}/taken/curve gave 'Not a directory'; "
        "set `storage` or $SWEEP_STORAGE to one that can"
    )
    assert refused.value.exit_code == 2


def test_an_object_store_is_refused(sweep):
    with pytest.raises(InvalidSweep, match=r"must be a folder that driver and workers see, but got 's3://bucket/x'"):
        open_folder(sweep().spec.model_copy(update={"storage": "s3://bucket/x"}))
