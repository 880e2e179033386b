"""``python -m platform.submit FILE --address http://head:8265``: a sweep on a Ray cluster, watched from here.

The driver runs on the cluster's head, in a copy of the git-tracked working tree, and no longer needs this machine. The
same command resumes a sweep that has stopped.
"""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform import verbs
from platform.cluster import jobs, packaging, preflight
from platform.errors import InvalidSweep, SweepError
from platform.provenance import commit
from platform.runners.placement import capacity, nodes_of
from platform.space.check import open_sweep
from platform.storage.requests import Request
from platform.sweepfile import secrets
from platform.sweepfile.completion import complete
from platform.sweepfile.options import parse
from platform.sweepfile.overrides import apply
from platform.sweepfile.spec import SweepSpec, load
from trainables.redaction import redact

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the sweep's own exit code, 2 invalid, 3 it runs already, 130 no longer watched."""
    parser = argparse.ArgumentParser(prog="python -m platform.submit", description=__doc__)
    parser.add_argument("file", type=Path, help="the sweep, see sweeps/; in the working tree that is sent")
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS"),
        required="RAY_API_SERVER_ADDRESS" not in os.environ,
        help="the cluster's job server, http://head:8265; default $RAY_API_SERVER_ADDRESS",
    )
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="replace a key of the file"
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="an environment variable for driver and trials, no secret (the job server shows it); no other is sent",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--detach", action="store_true", help="return once the sweep is sent")
    what.add_argument("--status", action="store_true", help="say how the sweep stands")
    what.add_argument("--stop", action="store_true", help="end the sweep so that it can be resumed")
    verbs.add_options(what)
    complete(parser)
    options = parse(parser, arguments)
    again = shlex.join(["python", "-m", "platform.submit", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        if options.status or options.stop:
            name = load(options.file, options.overrides).name
            client = jobs.connect(options.address)
            return _stop(client, name) if options.stop else _status(client, name)
        environment = _environment(options.env)
        _refuse_secrets(environment, options.overrides)
        spec, space = open_sweep(options.file, options.overrides, outside=False)
        if request := verbs.named(options, space):
            return _ask(spec, options.address, environment, request)
        return _submit(spec, options.address, environment, again, detach=options.detach)
    except SweepError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return error.exit_code


def _submit(spec: SweepSpec, address: str, environment: dict[str, str], again: str, *, detach: bool) -> int:
    problems = preflight.tracking_problems(spec, environment, address)
    if problems:
        raise InvalidSweep(problems)
    preflight.storage_of(spec, environment)
    published = spec.compare.published if spec.compare else None
    tree = packaging.tree(Path.cwd(), [spec.path, *([spec.path.parent / published] if published else [])])
    client = jobs.connect(address)
    jobs.refuse_second(client, spec.name)
    answer = preflight.ask(client, spec, environment)
    if problems := preflight.answer_problems(spec, answer):
        raise InvalidSweep(problems)
    capacity(spec.resources, spec.max_concurrent_trials, nodes_of(answer))  # refuses what no node can take
    nodes = f"{answer['nodes']} node{'s' * (answer['nodes'] != 1)}"
    _say(f"{address}: {nodes} with Ray and Python as here and {answer['storage']} in common")
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "tree.zip"
        packed = packaging.pack(tree, archive)
        _say(
            f"sends {len(tree.files)} files, {packaging.shown_size(tree.size)} ({packaging.shown_size(packed)} packed)"
            f", and of the environment {', '.join(sorted(environment)) or 'nothing'}"
        )
        if tree.untracked:
            _say(f"stays here, as git does not track it: {packaging.listed(tree.untracked)}")
        sent = {**environment, **commit(tree.root), "SWEEP_COMMAND": redact(again)}
        submission_id = jobs.submit(client, spec.name, _command(spec, tree.root), sent, archive)
    _say(f"runs as {submission_id}; it needs this machine no longer")
    if detach:
        _say(f"watch it: {again.replace(' --detach', '')} --status")
        return 0
    return _follow(client, submission_id, again)


def _ask(spec: SweepSpec, address: str, environment: dict[str, str], request: Request) -> int:
    """Leave a request for the sweep from the cluster's head, where its storage is; returns the verb's exit code."""
    preflight.storage_of(spec, environment)
    client, tree = jobs.connect(address), packaging.tree(Path.cwd(), [spec.path])
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "tree.zip"
        packaging.pack(tree, archive)
        command = f"{_command(spec, tree.root)} {shlex.join(verbs.words_of(request))}"
        submission_id = f"{spec.name}-{request.verb}-{request.id}"
        jobs.start(client, submission_id, command, environment, archive)
    return jobs.follow(client, submission_id, _write)


def _follow(client: JobSubmissionClient, submission_id: str, again: str) -> int:
    try:
        return jobs.follow(client, submission_id, _write)
    except KeyboardInterrupt:
        _say(f"\n{submission_id} goes on and is no longer watched; see: {again} --status, end it: {again} --stop")
        return 130


def _command(spec: SweepSpec, root: Path) -> str:
    """The command that the head runs in the copy of the tree."""
    file = spec.path.resolve().relative_to(root).as_posix()
    overrides = [word for override in spec.overrides for word in ("--set", override)]
    return shlex.join(["python", "-m", "platform.sweep", file, *overrides, "--address", "auto"])


def _environment(named: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` with the value that it has here."""
    found, problems = {}, []
    for text in named:
        name, equals, value = text.partition("=")
        if not name or not (equals or name in os.environ):
            problems.append(f"--env: must be NAME=VALUE, or the NAME of a variable that is set here, but got {text!r}")
        found[name] = value if equals else os.environ.get(name, "")
    if problems:
        raise InvalidSweep(problems)
    return found


def _refuse_secrets(environment: dict[str, str], overrides: Sequence[str]) -> None:
    """Refuse what would be shown by the job server, and lie in Ray's logs.

    Raises:
        InvalidSweep: an override or a variable holds a secret.
    """
    data: dict[str, Any] = {}
    apply(data, overrides, {})
    shown = [f"--set {path}" for path in secrets.held(data)] + [f"--env {name}" for name in secrets.held(environment)]
    rule = "must hold no secret, as the job server shows it to all who may ask, but does"
    remedy = "set it in the environment of the cluster's head, where the sweep can refer to it as ${NAME}"
    if shown:
        raise InvalidSweep([f"{where}: {rule}; {remedy}" for where in shown])


def _status(client: JobSubmissionClient, name: str) -> int:
    """Print the status of a sweep's jobs, and the last line that the newest job logged."""
    found = jobs.of_sweep(client, name)
    if not found:
        _say(f"{name}: the cluster knows no job of this sweep")
        return 0
    for job in found:
        _say(f"{job.submission_id}: {job.status.value}, {jobs.minutes(job):.0f} minutes")
    if lines := jobs.logs(client, found[-1].submission_id):
        _say(lines[-1])
    return 0


def _stop(client: JobSubmissionClient, name: str) -> int:
    """End the running job of a sweep and print its last line, which tells how to carry on."""
    running = [job for job in jobs.of_sweep(client, name) if not jobs.is_over(job)]
    if not running:
        _say(f"{name}: nothing of this sweep runs on the cluster")
    for job in running:
        ended = jobs.stop(client, job.submission_id)
        said = jobs.logs(client, job.submission_id)
        told = next((line for line in reversed(said) if "carry on with" in line), "it said nothing of carrying on")
        _say(f"{job.submission_id}: {ended.status.value}; {told}")
    return 0


def _say(text: str) -> None:
    _write(f"{redact(text)}\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
