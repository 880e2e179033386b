"""Objects in an S3 bucket: whole reads and writes, writes under a condition, lists. The only file that knows boto3.

Endpoint, region and credentials are those of the usual ``AWS_*`` variables and files (``AWS_ENDPOINT_URL`` for a server
of one's own). A bucket has neither rename nor lock. A write is whole or not there at all. Of several conditional writes
at once, exactly one succeeds.
"""

import contextlib
import email.utils
import functools
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

SCHEME = "s3://"
PATIENCE_S = 45.0
"""For how long a store may not answer: less than it takes for a driver's lease to be lost."""

_AT_ONCE_BYTES = 64 * 2**20  # larger files go in parts
_LONGEST_PAUSE_S = 5.0
_DELETED_AT_ONCE = 1000  # S3's own limit
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_CONDITION = {"412", "PreconditionFailed"}
_PASSING = {"ConditionalRequestConflict", "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable",
            "SlowDown", "Throttling"}  # fmt: skip
_REMEDIES = {
    "NoSuchBucket": "the bucket must be there, but is not; make it, or name another",
    "AccessDenied": "the bucket must be readable and writable with these credentials, but access is denied; see its "
    "policy and AWS_PROFILE, AWS_ACCESS_KEY_ID",
    "InvalidAccessKeyId": "the credentials must be known to the store, but AWS_ACCESS_KEY_ID is not; correct it",
    "SignatureDoesNotMatch": "the credentials must fit, but AWS_SECRET_ACCESS_KEY does not; correct it",
    "NotImplemented": "the store must know conditional writes (If-None-Match, If-Match), but does not; use another",
}

_ENVIRONMENT = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

_silent: set[str] = set()
"""Buckets that did not answer for as long as they are waited for."""

T = TypeVar("T")


class StoreError(OSError):
    """The store refuses, or does not answer; the text says what to do."""


@dataclass(frozen=True)
class Found:
    """An object as a list tells it: name, size in bytes, and the tag that changes with its content."""

    key: str
    size: int
    tag: str


@dataclass(frozen=True)
class Content:
    """An object as it was read. `age_s` is the time since it was written, by the store's own clock."""

    data: bytes
    tag: str
    age_s: float


class Bucket:
    """One bucket; every method may raise StoreError.

    A request is retried for ``patience_s`` while the store does not answer. After that, each request is tried once
    until the store answers.

    Args:
        name: of the bucket.
        patience_s: for how long; ``PATIENCE_S`` unless said.
    """

    def __init__(self, name: str, patience_s: float | None = None) -> None:
        self.name = name
        self._patience_s = patience_s

    def read(self, key: str) -> Content | None:
        """An object with its tag and age; None where there is none."""
        answer = self._ask(lambda client: _whole(client.get_object(Bucket=self.name, Key=key)))
        return None if answer is None else Content(*answer)

    def fetch(self, key: str, path: Path) -> str | None:
        """Bring an object to ``path``, whole or not at all; its tag, None where there is none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.draft")

        def fetch(client: Any) -> str:
            answer = client.get_object(Bucket=self.name, Key=key)
            with draft.open("wb") as stream:
                shutil.copyfileobj(answer["Body"], stream, 2**20)
            if draft.stat().st_size != answer["ContentLength"]:
                raise ConnectionError(f"the transfer of {key} ended early")
            draft.rename(path)
            return str(answer["ETag"])

        try:
            return self._ask(fetch)
        finally:
            draft.unlink(missing_ok=True)

    def write(self, key: str, data: bytes | Path) -> str:
        """Write an object, whatever lies there; its tag."""
        if isinstance(data, bytes):
            return self._put(key, data) or ""
        if data.stat().st_size <= _AT_ONCE_BYTES:
            return self._put(key, data.read_bytes()) or ""
        self._ask(lambda client: _upload(client, self.name, key, data))
        return str(self._ask(lambda client: client.head_object(Bucket=self.name, Key=key)["ETag"]))

    def create(self, key: str, data: bytes) -> str | None:
        """Write an object where there is none yet, and give its tag; None where there is one.

        ``data`` holds something of its writer's own: a write that was carried out, its answer lost, is known by it.
        """
        return self._put(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, tag: str) -> str | None:
        """Write an object in place of the one with ``tag``, and give the new tag; None where another lies there."""
        return self._put(key, data, IfMatch=tag)

    def delete(self, *keys: str) -> None:
        """Remove objects; those that are not there are no matter."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            self._ask(functools.partial(_delete, bucket=self.name, keys=keys[start : start + _DELETED_AT_ONCE]))

    def list(self, prefix: str) -> Iterator[Found]:
        """The objects whose names begin with ``prefix``, in order of their names."""
        token: dict[str, str] = {}
        while True:
            request = functools.partial(_call, "list_objects_v2", Bucket=self.name, Prefix=prefix, **token)
            page = self._ask(request)
            for entry in (page or {}).get("Contents", ()):
                yield Found(entry["Key"], entry["Size"], entry["ETag"])
            if not page or not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def _put(self, key: str, data: bytes, **condition: str) -> str | None:
        try:
            answer = self._ask(lambda client: client.put_object(Bucket=self.name, Key=key, Body=data, **condition))
            return str(answer["ETag"]) if answer else None  # None: what was to be replaced is gone
        except _ConditionError:
            there = self.read(key)
            return there.tag if there and there.data == data else None

    def _ask(self, request: Callable[[Any], T]) -> T | None:
        """Carry out a request; None where the object is not there."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        patience_s = PATIENCE_S if self._patience_s is None else self._patience_s
        deadline, pause = time.monotonic() + (0 if self.name in _silent else patience_s), 0.2
        while True:
            try:
                answer = request(client())
                _silent.discard(self.name)
                return answer
            except (NoCredentialsError, PartialCredentialsError) as error:
                remedy = "credentials must be there, but were found neither in AWS_* variables nor in ~/.aws; set them"
                raise StoreError(f"{SCHEME}{self.name}: {remedy}") from error
            except ClientError as error:
                if (code := error.response.get("Error", {}).get("Code", "")) in _ABSENT:
                    return None
                if code in _CONDITION:
                    raise _ConditionError from error
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                passing = (code in _PASSING or status >= 500) and code != "NotImplemented"
                text = _REMEDIES.get(code) or _REMEDIES.get({403: "AccessDenied"}.get(status, ""))
                failed: Exception = error
            except (BotoCoreError, ConnectionError) as error:
                passing, text, failed = True, None, error
            if not passing or time.monotonic() + pause > deadline:
                if passing:
                    _silent.add(self.name)
                text = text or f"the store must answer, but got {failed}; see AWS_ENDPOINT_URL and its server"
                raise StoreError(f"{SCHEME}{self.name}: {text}") from failed
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


class _ConditionError(Exception):
    """The condition of a write does not hold."""


def parse(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``; the prefix has no slash at its ends.

    Raises:
        ValueError: it is no such URL.
    """
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    parts = [part for part in prefix.rstrip("/").split("/") if prefix]
    if not url.startswith(SCHEME) or not bucket or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"must be s3://bucket or s3://bucket/prefix, but got {url!r}")
    return bucket, "/".join(parts)


def client() -> Any:
    """boto3's client for what the environment says now: one a process, as none may be used on both sides of a fork."""
    return _client(os.getpid(), *map(os.environ.get, _ENVIRONMENT))


@functools.cache
def _client(process: int, endpoint: str | None, region: str | None, *credentials: str | None) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region or "us-east-1",
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            retries={"mode": "standard", "max_attempts": 1},
            request_checksum_calculation="when_required",  # other servers than Amazon's know no trailing checksums
            response_checksum_validation="when_required",
        ),
    )


def _call(operation: str, client: Any, **named: Any) -> Any:
    return getattr(client, operation)(**named)


def _upload(client: Any, bucket: str, key: str, path: Path) -> None:
    """Write a file in parts; boto3's own error hides what the store said, which is raised as of any other request."""
    from boto3.exceptions import S3UploadFailedError

    try:
        client.upload_file(str(path), bucket, key)
    except S3UploadFailedError as error:
        raise error.__context__ or error from None


def _delete(client: Any, bucket: str, keys: Sequence[str]) -> None:
    """Remove objects; what an answer of success says against one of them is raised as of any other request."""
    from botocore.exceptions import ClientError

    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    for error in answer.get("Errors", ()):
        if error["Code"] not in _ABSENT:
            raise ClientError({"Error": error}, "DeleteObjects")


def _whole(answer: Any) -> tuple[bytes, str, float]:
    """Content, tag and age of what `get_object` gave."""
    data = answer["Body"].read()
    if len(data) != answer["ContentLength"]:
        raise ConnectionError("the response ended early")
    age = 0.0
    with contextlib.suppress(KeyError, TypeError, ValueError):
        now = email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        age = max((now - answer["LastModified"]).total_seconds(), 0.0)
    return data, str(answer["ETag"]), age
