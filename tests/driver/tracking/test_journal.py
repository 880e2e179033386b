"""A trial's files: on disk before they are relied on, and whole after a crash."""

import json
import math
import os

import pytest

from platform.storage.trial_end import State, TrialEnd
from platform.tracking.journal import TrialFiles, all_trials, infinite_words, last_values, metrics_of
from trainables.storage import mirror, segments
from trainables.storage.objects import Bucket, StoreError


def test_a_line_holds_its_number_step_and_metrics(tmp_path):
    files = TrialFiles(tmp_path, 3)
    files.begin({"x": 0.5})
    assert files.append(2, {"valid/hr_10": 0.25})["report"] == 1
    files.append(4, {"valid/hr_10": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "trials" / "3" / "journal.jsonl").read_text().splitlines()]
    assert [(line["report"], line["step"], line["metrics"]) for line in lines] == [
        (1, 2, {"valid/hr_10": 0.25}),
        (2, 4, {"valid/hr_10": 0.5}),
    ]
    assert files.lines(after=1) == lines[1:]


def test_a_value_that_is_not_finite_is_kept_as_null_so_that_any_reader_can_read_it(tmp_path):
    files = TrialFiles(tmp_path, 0)
    files.begin({})
    files.append(1, {"a": math.nan, "b": math.inf, "c": 1.0})
    assert files.lines()[0]["metrics"] == {"a": None, "b": None, "c": 1.0}
    assert "NaN" not in (tmp_path / "trials" / "0" / "journal.jsonl").read_text()


def test_an_infinite_value_is_told_as_that_beside_its_null(tmp_path):
    files = TrialFiles(tmp_path, 0)
    files.append(1, {"train/loss": 0.5})
    files.append(2, {"train/loss": math.inf, "valid/a": -math.inf, "valid/b": math.nan})
    files.append(3, {"train/loss": math.inf})
    first, second, _ = files.lines()
    assert "infinite" not in first
    assert second["metrics"] == {"train/loss": None, "valid/a": None, "valid/b": None}
    assert second["infinite"] == {"train/loss": "inf", "valid/a": "-inf"}
    assert str(metrics_of(second)) == "{'train/loss': inf, 'valid/a': -inf, 'valid/b': nan}"
    assert infinite_words(files.lines()) == "train/loss = inf at step 2; valid/a = -inf at step 2"


def test_the_last_finite_values_of_some_kinds_of_metrics_are_read(tmp_path):
    files = TrialFiles(tmp_path, 0)
    files.append(1, {"test/a": 1.0, "test/b": math.nan, "valid/a": 1.0})
    files.append(2, {"test/a": 2.0, "trial/seconds": 3.0})
    files.append(3, {"test/a": math.nan})
    assert last_values(files.lines(), "test/") == {"test/a": 2.0}
    assert last_values(files.lines(), "test/", "trial/") == {"test/a": 2.0, "trial/seconds": 3.0}


def test_a_torn_last_line_is_cut_before_the_next_is_added(tmp_path):
    files = TrialFiles(tmp_path, 0)
    files.begin({})
    files.append(1, {"a": 1.0})
    path = tmp_path / "trials" / "0" / "journal.jsonl"
    path.write_bytes(path.read_bytes() + b'{"report": 2, "ti')
    again = TrialFiles(tmp_path, 0)
    assert len(again.lines()) == 1
    assert again.append(2, {"a": 2.0})["report"] == 2
    assert [line["step"] for line in TrialFiles(tmp_path, 0).lines()] == [1, 2]


def test_a_reader_leaves_a_line_alone_that_another_is_writing(tmp_path):
    files = TrialFiles(tmp_path, 0)
    files.begin({})
    path = tmp_path / "trials" / "0" / "journal.jsonl"
    whole = b'{"report": 1, "time": 0, "step": 1, "metrics": {}}\n'
    path.write_bytes(whole + whole[:20])
    assert len(TrialFiles(tmp_path, 0).lines()) == 1
    assert path.read_bytes() == whole + whole[:20]


def test_a_trial_that_begins_again_keeps_its_first_start_and_loses_its_end(tmp_path):
    files = TrialFiles(tmp_path, 0)
    files.begin({"x": 1})
    first = files.read("trial.json")
    files.end(TrialEnd.now(State.INTERRUPTED, "interrupted, resumable"))
    again = TrialFiles(tmp_path, 0)
    again.begin({"x": 1})
    assert again.read("trial.json") == first
    assert again.read("end.json") == {}


def test_what_is_not_there_or_torn_reads_as_empty(tmp_path):
    files = TrialFiles(tmp_path, 0)
    assert files.lines() == []
    assert files.read("end.json") == {}
    assert files.status() == ""
    files.begin({})
    (tmp_path / "trials" / "0" / "tags.json").write_text('{"a"')
    assert files.read("tags.json") == {}


def test_the_trials_of_a_folder_come_in_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        TrialFiles(tmp_path, number).begin({})
    (tmp_path / "trials" / "notes").mkdir()
    assert [trial.number for trial in all_trials(tmp_path)] == [1, 2, 10]


def test_in_a_bucket_a_report_is_there_before_it_is_acknowledged_in_segments(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "LINES", 3)
    files = TrialFiles(mirror.local_path(f"{bucket}/runs/curve", mirror.DRIVER), 0)
    files.begin({"x": 1})
    for step in range(1, 8):
        line = files.append(step, {"valid/ndcg_10": 0.5})
        [*_, newest] = Bucket(bucket.removeprefix("s3://")).list("runs/curve/trials/0/journal/")
        assert (stored := Bucket(bucket.removeprefix("s3://")).read(newest.key))
        assert json.loads(stored.data.splitlines()[-1]) == line
    assert newest.key == "runs/curve/trials/0/journal/000002.jsonl"
    assert [line["step"] for line in files.lines(2)] == [3, 4, 5, 6, 7]

    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "elsewhere"))
    folder = mirror.local_path(f"{bucket}/runs/curve", mirror.DRIVER)
    mirror.pull(folder)
    [files] = all_trials(folder)
    assert files.append(8, {"valid/ndcg_10": 0.5})["report"] == 8
    assert [line["report"] for line in files.lines()] == list(range(1, 9))


def test_a_report_that_the_bucket_does_not_take_is_not_in_the_journal(bucket, monkeypatch):
    files = TrialFiles(mirror.local_path(f"{bucket}/runs/curve", mirror.DRIVER), 0)
    files.append(1, {"valid/ndcg_10": 0.5})
    with monkeypatch.context() as broken:
        broken.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        broken.setattr("trainables.storage.objects.PATIENCE_S", 0.1)
        with pytest.raises(StoreError, match="the store must answer"):
            files.append(2, {"valid/ndcg_10": 0.5})
    assert [line["step"] for line in files.lines()] == [1]
    assert files.append(2, {"valid/ndcg_10": 0.5})["report"] == 2


@pytest.mark.parametrize(("value", "mode"), [("of-a-setting", 0o600), ("${HUB_KEY}", 0o644), ("", 0o644), (5, 0o644)])
def test_values_that_hold_a_secret_are_for_their_owner_alone(tmp_path, value, mode):
    before = os.umask(0o022)
    try:
        TrialFiles(tmp_path, 0).begin({"hub.api_key": value, "x": "text"})
    finally:
        os.umask(before)
    assert (tmp_path / "trials" / "0" / "trial.json").stat().st_mode & 0o777 == mode
