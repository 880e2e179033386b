"""Objects in a bucket of a real S3 server: whole or not there, one of many who write under a condition."""

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from urllib3 import HTTPResponse

from trainables.storage import objects
from trainables.storage.objects import Bucket, StoreError, parse


@pytest.fixture
def store(bucket: str) -> Bucket:
    return Bucket(bucket.removeprefix("s3://"))


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that goes in parts."""
    monkeypatch.setattr(objects, "_AT_ONCE_BYTES", 2**20)
    (tmp_path / "large").write_bytes(os.urandom(9 * 2**20))
    return tmp_path / "large"


def test_what_is_written_is_read_with_its_tag_and_age(store: Bucket) -> None:
    assert store.read("a/b") is None
    tag = store.write("a/b", b"first")
    found = store.read("a/b")
    assert (found.data, found.tag) == (b"first", tag)
    assert 0 <= found.age_s < 5
    assert store.write("a/b", b"second") != tag


@pytest.mark.slow
def test_age_grows_by_the_clock_of_the_store(store: Bucket) -> None:
    store.write("lease", b"")
    time.sleep(2.1)
    assert 1 <= store.read("lease").age_s <= 4


def test_of_many_who_create_an_object_at_once_one_succeeds(store: Bucket) -> None:
    with ThreadPoolExecutor(8) as threads:
        tags = list(threads.map(lambda number: store.create("one", b"%d" % number), range(8)))
    [winner] = [number for number, tag in enumerate(tags) if tag]
    assert store.read("one").data == b"%d" % winner


def test_a_creation_whose_answer_was_lost_is_known_again(store: Bucket) -> None:
    tag = store.create("one", b"mine")
    assert store.create("one", b"mine") == tag
    assert store.create("one", b"another's") is None


def test_an_object_is_replaced_only_while_it_is_the_one_that_was_seen(store: Bucket) -> None:
    seen = store.create("lease", b"first")
    assert seen is not None
    newer = store.replace("lease", b"second", seen)
    assert newer
    assert store.replace("lease", b"third", seen) is None
    assert store.read("lease").data == b"second"
    store.delete("lease")
    assert store.replace("lease", b"third", newer) is None


def test_a_list_tells_names_sizes_and_tags_over_several_pages(store: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = {f"x/{number}": store.write(f"x/{number}", b"." * number) for number in range(5)}
    store.write("y", b"")
    real = objects.client().list_objects_v2
    monkeypatch.setattr(objects.client(), "list_objects_v2", lambda **named: real(MaxKeys=2, **named))
    assert {found.key: (found.size, found.tag) for found in store.list("x/")} == {
        f"x/{number}": (number, tags[f"x/{number}"]) for number in range(5)
    }
    store.delete("x/0", "x/1", "x/none")
    assert [found.key for found in store.list("x/")] == ["x/2", "x/3", "x/4"]


def test_a_large_file_goes_in_parts_and_comes_back_whole(store: Bucket, parts: Path, tmp_path: Path) -> None:
    tag = store.write("large", parts)
    assert store.fetch("large", tmp_path / "back") == tag
    assert (tmp_path / "back").read_bytes() == parts.read_bytes()
    assert store.fetch("none", tmp_path / "none") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "large"]


def test_a_large_file_is_sent_again_where_the_store_is_busy(store: Bucket, parts: Path) -> None:
    refusals: list[str] = []

    def refuse(request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        if len(refusals) == 2:  # boto3 itself asks twice, up to a second apart
            return None
        refusals.append(request.url)
        body = BytesIO(b"<Error><Code>SlowDown</Code></Error>")
        return AWSResponse(request.url, 503, {}, HTTPResponse(body, status=503, preload_content=False))

    events = objects.client().meta.events
    events.register("before-send.s3.CreateMultipartUpload", refuse)
    try:
        assert store.write("large", parts) == store.fetch("large", parts.with_name("back"))
    finally:
        events.unregister("before-send.s3.CreateMultipartUpload", refuse)
    assert len(refusals) == 2
    assert parts.with_name("back").read_bytes() == parts.read_bytes()


def test_a_store_that_denies_access_says_the_remedy_for_every_request(store: Bucket, parts: Path) -> None:
    store.write("kept", b"")
    deny = {"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObject", "s3:DeleteObject"]}
    deny["Resource"] = f"arn:aws:s3:::{store.name}/*"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    objects.client().put_bucket_policy(Bucket=store.name, Policy=policy)
    for request in (
        lambda: store.write("a", b""),
        lambda: store.write("a", parts),
        lambda: store.delete("none", "kept"),
    ):
        with pytest.raises(StoreError, match=r"must be readable and writable .* but access is denied; see its policy"):
            request()
    assert [found.key for found in store.list("")] == ["kept"]


def test_a_bucket_that_is_not_there_is_said_at_once(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"s3://nowhere-at-all: the bucket must be there, but is not; make it"):
        Bucket("nowhere-at-all").write("x", b"")


def test_missing_credentials_are_said_at_once(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match=r"credentials must be there, but were found neither in AWS_\* variables"):
        Bucket(bucket.removeprefix("s3://")).read("x")


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_asked_again_for_a_while(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        before = time.monotonic()
        with pytest.raises(StoreError, match=r"the store must answer, but got Could not connect.*; see AWS_ENDPOINT"):
            Bucket(bucket.removeprefix("s3://")).read("x")
    assert time.monotonic() - before > objects.PATIENCE_S / 2


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://b//x", "s3://b/../x", "s3://b/./x", "/b/x"])
def test_what_is_no_place_in_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be s3://bucket or s3://bucket/prefix"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "parts"),
    [("s3://b", ("b", "")), ("s3://b/", ("b", "")), ("s3://b/p", ("b", "p")), ("s3://b/p/q/", ("b", "p/q"))],
)
def test_a_place_is_a_bucket_and_a_prefix(url: str, parts: tuple[str, str]) -> None:
    assert parse(url) == parts
