"""A sweep's folder."""

from pathlib import Path

import pytest

from platform.errors import InvalidSweep
from platform.storage.folder import bring_tables, folder_of, open_folder, shared, try_bucket, try_folder
from platform.sweep import main
from trainables.storage import mirror


@pytest.fixture
def in_bucket(sweep, bucket: str):
    """The sweep `curve` with its storage in a bucket."""
    return sweep().spec.model_copy(update={"storage": f"{bucket}/runs"})


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


@pytest.mark.parametrize("storage", ["gs://bucket/x", "s3://", "s3://bucket/../x"])
def test_a_url_that_is_no_bucket_is_refused(sweep, storage):
    text = f"storage: a storage that is no folder must be s3://bucket or s3://bucket/prefix, but got '{storage}'; corr"
    with pytest.raises(InvalidSweep, match=text):
        folder_of(sweep().spec.model_copy(update={"storage": storage}))


def test_a_folder_that_is_tried_goes_again_with_those_around_it_and_one_that_was_there_stays(sweep, tmp_path):
    here = sweep(f"storage={tmp_path}/far/off")  # which opens, and so makes it
    assert try_folder(here.spec) == here.folder
    assert here.folder.is_dir()
    here.folder.rmdir()
    (tmp_path / "far" / "off").rmdir()
    assert try_folder(here.spec) == here.folder
    assert list((tmp_path / "far").iterdir()) == []
    with pytest.raises(InvalidSweep, match=r"storage: must be a folder that can be written"):
        try_folder(here.spec.model_copy(update={"storage": str(here.file)}))


def test_a_bucket_is_tried_and_left_as_it_was(in_bucket, bucket):
    folder = open_folder(in_bucket)
    assert mirror.uri_of(folder) == f"{bucket}/runs/curve"
    assert mirror.sizes(folder.parent) == {}
    assert folder_of(in_bucket) != folder


def test_a_bucket_that_cannot_be_used_is_refused_with_the_remedy(in_bucket, bucket, monkeypatch):
    with pytest.raises(InvalidSweep, match=r"storage: s3://none: the bucket must be there, but is not; make it"):
        open_folder(in_bucket.model_copy(update={"storage": "s3://none"}))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InvalidSweep, match=r"curve.yaml:\d+: storage: s3://\w+: credentials must be there, but were"):
        try_bucket(in_bucket)


def check(file, capsys, *settings: str) -> tuple[int, str]:
    """Exit code and complaints of `--check`."""
    code = main([str(file), "--check", *(word for each in settings for word in ("--set", each))])
    return code, capsys.readouterr().err


def test_the_check_tells_what_a_bucket_needs(curve_file, bucket, tmp_path, capsys, monkeypatch):
    storage, study = f"storage={bucket}/runs", f"study=sqlite:///{tmp_path}/study.db"
    code, said = check(curve_file, capsys, storage)
    assert code == 2
    assert (
        f"study: must be a database URL where storage is {bucket}/runs, but got None; write postgresql+psycopg://"
        in said
    )
    code, said = check(curve_file, capsys, storage, study)
    assert code == 2
    assert f"tracking.uri: must be named where storage is {bucket}/runs, but is not; write http://host:port of" in said
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert check(curve_file, capsys, storage, study) == (0, "")
    code, said = check(curve_file, capsys, "storage=s3://none/runs", study)
    assert (code, said) == (
        2,
        "--set storage=s3://none/runs: storage: s3://none: the bucket must be there, but is not; make it, or name "
        "another\n",
    )
    monkeypatch.setattr("platform.storage.folder._PATIENCE_S", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, said = check(curve_file, capsys, storage, study)
    assert code == 2
    assert "the store must answer, but got Could not connect to the endpoint URL" in said
    assert "secret-of-the-tests" not in said


def test_a_store_without_conditional_writes_is_refused(in_bucket, monkeypatch):
    monkeypatch.setattr("trainables.storage.objects.Bucket.create", lambda self, key, data: self.write(key, data))
    with pytest.raises(InvalidSweep, match=r"must know conditional writes \(If-None-Match\), but the store of s3://"):
        try_bucket(in_bucket)


def test_a_driver_on_another_machine_finds_what_the_first_one_wrote(in_bucket, tmp_path, monkeypatch):
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    first = open_folder(in_bucket)
    with shared(first):
        write(first / "sweep.log", "said")
        for name in ("trial.json", "journal/000000.jsonl", "tags.json", "artifacts/ranks.npy", "checkpoints/1.pt"):
            write(first / "trials/0" / name, "x")
            mirror.push(first / "trials/0" / name)
    assert not first.exists()
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "second"))
    second = open_folder(in_bucket)
    with shared(second):
        names = sorted(path.relative_to(second).as_posix() for path in second.rglob("*") if path.is_file())
    assert names == ["sweep.log", "trials/0/journal/000000.jsonl", "trials/0/tags.json", "trials/0/trial.json"]
    reader = folder_of(in_bucket)
    bring_tables(reader)
    names = sorted(path.relative_to(reader / "trials/0").as_posix() for path in reader.rglob("*") if path.is_file())
    assert names == ["artifacts/ranks.npy", "journal/000000.jsonl", "tags.json", "trial.json"]
