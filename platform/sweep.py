"""``python -m platform.sweep FILE``: run a sweep, or carry it on where it stopped."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platform import verbs
from platform.errors import InvalidSweep, SweepError
from platform.runners import INLINE
from platform.space import cells, points
from platform.space.check import notes, open_sweep
from platform.storage.folder import try_bucket
from platform.sweepfile.completion import complete
from platform.sweepfile.options import parse
from trainables.disk import is_away, is_full
from trainables.redaction import redact
from trainables.storage.mirror import is_bucket
from trainables.storage.objects import StoreError

if TYPE_CHECKING:
    from platform.space.space import Space
    from platform.sweepfile.spec import SweepSpec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 done, 1 ended without a usable result, 2 invalid, 3 busy, or 128 + signal."""
    parser = argparse.ArgumentParser(prog="python -m platform.sweep", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="the sweep, see sweeps/")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="replace a key of the file"
    )
    parser.add_argument(
        "--address",
        help="a Ray cluster (auto, host:port), or inline: this process, without Ray; default: Ray on this machine",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="check the file and the machine, start nothing")
    what.add_argument("--plan", action="store_true", help="say what would run, how many at once and on what")
    what.add_argument("--status", action="store_true", help="say how the sweep stands")
    verbs.add_options(what)
    what.add_argument("--adopt", action="store_true", help="rebuild a lost study from its trials' own files")
    what.add_argument("--keys", action="store_true", help="print every key that a sweep file can have")
    complete(parser)
    options = parse(parser, arguments)
    if options.keys:
        return verbs.keys()
    if options.file is None:
        parser.error("name a sweep file, such as sweeps/spectran_taylor.yaml")
    try:
        spec, space = open_sweep(options.file, options.overrides)
        _refuse_untracked(spec)
        if options.address == INLINE or not (options.address or options.check):
            _refuse_several_nodes(spec, options.address)
        if request := verbs.named(options, space):
            return verbs.ask(spec, space, request)
        if options.status:
            return verbs.status(spec, space)
        if options.check or options.plan:
            try_bucket(spec)
            _refuse_another(spec, space)
        if options.check:
            sys.stdout.writelines(f"note: {redact(note)}\n" for note in notes(spec, space))
            sys.stdout.write(
                f"{options.file}: a sweep of {spec.num_trials} trials of {spec.trainable}, nothing to object to\n"
            )
            for about, sentence in (*points.notes(spec, space), *cells.notes(spec, space)):
                sys.stdout.write(f"{about}: {sentence}\n")
            return 0
        command = shlex.join(["python", "-m", "platform.sweep", *(sys.argv[1:] if arguments is None else arguments)])
        if options.adopt:
            return verbs.adopt(spec, space)
        if options.plan:
            return verbs.plan(spec, space, options.address)
        return _run(spec, space, options.address, redact(os.environ.get("SWEEP_COMMAND", command)))
    except KeyboardInterrupt:  # before a sweep takes signals itself
        sys.stderr.write("SIGINT; nothing was started\n")
        return 128 + signal.SIGINT
    except SweepError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return error.exit_code
    except StoreError as error:
        sys.stderr.write(f"storage: {redact(str(error))}; the same command carries on\n")
        return SweepError.exit_code
    except OSError as error:
        if is_full(error):
            told = f"the disk must have room, but got {error}; the same command carries on then"
        elif is_away(error):
            told = f"storage: must answer while a sweep runs, but got {error}; the same command carries on then"
        else:
            raise
        sys.stderr.write(f"{redact(told)}\n")
        return SweepError.exit_code


def _refuse_untracked(spec: SweepSpec) -> None:
    """A bucket holds no MLflow store, as a folder does."""
    if is_bucket(spec.storage) and not (spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        rule = f"must be named where storage is {spec.storage}, but is not"
        remedy = "write http://host:port of an MLflow server (infra/mlflow), or set $MLFLOW_TRACKING_URI"
        raise InvalidSweep([spec.problem("tracking.uri", f"{rule}; {remedy}")])


def _refuse_several_nodes(spec: SweepSpec, address: str | None) -> None:
    if spec.resources.nodes > 1:
        where = "this process" if address == INLINE else "Ray on this machine"
        rule = f"must be 1 where a sweep runs on one node, which is {where}, but got {spec.resources.nodes}"
        raise InvalidSweep([spec.problem("resources.nodes", f"{rule}; leave it out, or name a cluster by --address")])


def _refuse_another(spec: SweepSpec, space: Space) -> None:
    from platform.storage.folder import folder_of
    from platform.study.existing import refuse_another

    refuse_another(spec, space, folder_of(spec))


def _run(spec: SweepSpec, space: Space, address: str | None, command: str) -> int:
    from platform.console import Interrupted, Signals
    from platform.driver import drive

    try:
        with Signals() as signals:
            return drive(spec, space, address, command, signals)
    except Interrupted as end:
        sys.stdout.write(f"{end}; carry on with: {command}\n")
        return end.exit_code


if __name__ == "__main__":
    sys.exit(main())
