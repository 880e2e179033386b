"""Sweeps as Ray jobs: those of a sweep, their start, their logs and their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.cluster import access
from platform.errors import Busy, SweepError
from trainables.exceptions import first_line

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

SWEEP = "sweep"
"""The key of a job's metadata that holds the sweep's name."""
STOP_WAIT_S = 120
"""Seconds that a stopped sweep has to leave its trials resumable before Ray kills it."""
SILENT_S = 60.0
"""Seconds for which a job server that is followed may not answer."""
_POLL_S = 0.5
_CLIENTS_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class NoAnswer(SweepError):  # noqa: N818
    """The job server does not answer, or refuses to."""


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Raise NoAnswer for every error of a request to the job server."""
    from aiohttp import ClientError
    from ray.exceptions import AuthenticationError

    try:
        yield
    except (OSError, RuntimeError, ClientError, AuthenticationError) as error:
        raise NoAnswer(
            f"the job server must answer, but got {first_line(error)!r}; a sweep that runs there goes on: see "
            "`--status`"
        ) from error


def connect(address: str) -> JobSubmissionClient:
    """Connect to the job server at `http(s)://host:port`.

    Raises:
        InvalidSweep: the server cannot be used, see `access.headers`.
        NoAnswer: the server no longer answers; every function here may raise this.
    """
    address = address.rstrip("/")
    headers = access.headers(address)
    from ray.dashboard.modules import dashboard_sdk
    from ray.dashboard.modules.job import sdk

    for module in (dashboard_sdk, sdk):
        module.logger.setLevel(logging.ERROR)
    with _answered(), _without(_CLIENTS_OVERRIDES):  # which would win over the address that was named
        return sdk.JobSubmissionClient(address, headers=headers)


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


@_answered()
def of_sweep(client: JobSubmissionClient, name: str) -> list[JobDetails]:
    """The jobs of a sweep that the cluster remembers, oldest first."""
    jobs = [job for job in client.list_jobs() if (job.metadata or {}).get(SWEEP) == name and job.submission_id]
    return sorted(jobs, key=lambda job: _count(job.submission_id))


def is_over(job: JobDetails) -> bool:
    """True if a job has ended."""
    return bool(job.status.is_terminal())


def _count(submission_id: str) -> int:
    digits = submission_id.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0


@_answered()
def submit(client: JobSubmissionClient, name: str, command: str, environment: dict[str, str], archive: Path) -> str:
    """Start `command` in the unpacked `archive` on the cluster's head; returns the submission id, `<name>-<n>`.

    Raises:
        Busy: a job of this sweep has not ended.
    """
    refuse_second(client, name)
    known = of_sweep(client, name)
    submission_id = f"{name}-{_count(known[-1].submission_id) + 1 if known else 1}"
    stops = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
    try:
        start(client, submission_id, command, {**stops, **environment}, archive, {SWEEP: name})
    except RuntimeError as error:
        refuse_second(client, name)  # another submit was quicker
        raise SweepError(f"the job server must take the sweep, but it said {first_line(error)!r}; try again") from error
    return submission_id


def start(
    client: JobSubmissionClient,
    submission_id: str,
    command: str,
    environment: dict[str, str],
    archive: Path,
    metadata: dict[str, str] | None = None,
) -> None:
    """Start a command in the unpacked `archive` on the cluster's head, as a job that is no sweep without `metadata`."""
    client.submit_job(
        entrypoint=command,
        submission_id=submission_id,
        runtime_env={"working_dir": str(archive), "env_vars": environment},
        metadata=metadata,
    )


def refuse_second(client: JobSubmissionClient, name: str) -> None:
    """Raise Busy where a job of the sweep has not ended."""
    for job in of_sweep(client, name):
        if not is_over(job):
            raise Busy(
                f"a sweep must have one driver, but {name!r} is {job.status.value} as {job.submission_id} since "
                f"{minutes(job):.0f} minutes; see --status, or end it with --stop"
            )


def minutes(job: JobDetails) -> float:
    """Minutes that a job has run, or ran."""
    end = job.end_time if is_over(job) and job.end_time else 1000 * time.time()
    return max(0.0, (end - (job.start_time or end)) / 60_000)


def follow(client: JobSubmissionClient, submission_id: str, write: Callable[[str], Any]) -> int:
    """Write a job's logs until it ends; returns its exit code, 143 where it was stopped.

    Raises:
        NoAnswer: the job server was silent for `SILENT_S`.
    """
    said, deadline = _Said(write), math.inf
    while True:
        try:
            with _answered():
                if is_over(job := client.get_job_info(submission_id)):
                    said.go_on(0, client.get_job_logs(submission_id))
                    return exit_code(job)
                deadline = math.inf
                asyncio.run(_tail(client, submission_id, said))
        except NoAnswer:
            now = time.monotonic()
            deadline = min(deadline, now + SILENT_S)
            if now >= deadline:
                raise
        time.sleep(_POLL_S)


class _Said:
    """The output of a job, written once, though each connection sends it from its beginning."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._written = 0

    def go_on(self, start: int, text: str) -> None:
        """Write the new part of `text`, which begins at character `start` of the logs."""
        if new := text[max(0, self._written - start) :]:
            self._write(new)
            self._written += len(new)


async def _tail(client: JobSubmissionClient, submission_id: str, said: _Said) -> None:
    seen = 0
    async for text in client.tail_job_logs(submission_id):
        said.go_on(seen, text)
        seen += len(text)


def exit_code(job: JobDetails) -> int:
    """The exit code of the command that a job ran."""
    if job.status.value == "STOPPED":
        return 143
    if job.status.value == "SUCCEEDED":
        return 0
    return job.driver_exit_code if job.driver_exit_code and job.driver_exit_code > 0 else 1


@_answered()
def logs(client: JobSubmissionClient, submission_id: str) -> list[str]:
    """The lines that a job has logged."""
    return str(client.get_job_logs(submission_id)).strip().splitlines()


@_answered()
def stop(client: JobSubmissionClient, submission_id: str) -> JobDetails:
    """Tell a job to end (SIGTERM) and wait until it has."""
    client.stop_job(submission_id)
    deadline = time.monotonic() + STOP_WAIT_S + 30
    while not is_over(job := client.get_job_info(submission_id)):
        if time.monotonic() > deadline:
            raise SweepError(
                f"{submission_id} must end within {STOP_WAIT_S + 30} s of SIGTERM, but it did not; see the dashboard"
            )
        time.sleep(_POLL_S)
    return job


@_answered()
def run(
    client: JobSubmissionClient, submission_id: str, command: str, environment: dict[str, str], seconds: float
) -> str:
    """Run a short command on the head without our tree, delete the job, and return its output.

    Raises:
        SweepError: it failed or took longer than `seconds`.
    """
    client.submit_job(entrypoint=command, submission_id=submission_id, runtime_env={"env_vars": environment})
    deadline = time.monotonic() + seconds
    while not is_over(job := client.get_job_info(submission_id)):
        if time.monotonic() > deadline:
            client.stop_job(submission_id)
            raise SweepError(
                f"the cluster must run a small job within {seconds:g} s, but {submission_id} is {job.status.value}; "
                "see its dashboard"
            )
        time.sleep(_POLL_S / 5)
    said = client.get_job_logs(submission_id)
    client.delete_job(submission_id)
    if job.status.value != "SUCCEEDED":
        last = (said.strip() or job.message or "nothing said").splitlines()[-1]
        raise SweepError(
            f"the cluster must run a small job, but {submission_id} ended with {last!r}; see its dashboard"
        )
    return str(said)
