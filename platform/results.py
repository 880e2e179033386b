"""``python -m platform.results FILE [FILE ...]``: finished sweeps, or what is there of them, as one table.

A `--set` counts for the FILE it follows, before the first FILE for all. A sweep that ran under `--set name=...` is
named with it; the other settings are read from its trials. Sweeps that run are only read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from platform.errors import InvalidSweep, SweepError
from platform.storage.folder import bring_tables, folder_of
from platform.sweepfile.spec import SweepSpec, load
from trainables.redaction import redact
from trainables.storage import mirror
from trainables.storage.objects import StoreError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 where there is a table, 1 where no trial is complete, 2 for invalid input."""
    try:
        sweeps = _load_all(_requests(sys.argv[1:] if arguments is None else arguments))
        return _show(sweeps)
    except SweepError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return error.exit_code
    except StoreError as error:
        sys.stderr.write(f"storage: {redact(str(error))}\n")
        return SweepError.exit_code


def _requests(arguments: Sequence[str]) -> list[tuple[Path, list[str]]]:
    """The files, each with its overrides."""
    parser = argparse.ArgumentParser(
        prog="python -m platform.results",
        description=__doc__,
        usage="%(prog)s [--set KEY=VALUE ...] FILE [--set KEY=VALUE ...] [FILE [--set KEY=VALUE ...] ...]",
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="a sweep with `compare`, see sweeps/")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="a key of the file as it was replaced when the sweep ran, such as name=...")  # fmt: skip
    starts = [
        index
        for index, word in enumerate(arguments)
        if not word.startswith("-") and (index == 0 or arguments[index - 1] != "--set")
    ]
    ends = [*starts[1:], len(arguments)]
    common = parser.parse_args(arguments[: starts[0] if starts else len(arguments)]).overrides
    if not starts:
        parser.error("name at least one sweep file")
    read = [parser.parse_args(arguments[start:end]) for start, end in zip(starts, ends, strict=True)]
    return [(Path(options.files[0]), [*common, *options.overrides]) for options in read]


def _load_all(requests: Sequence[tuple[Path, Sequence[str]]]) -> list[tuple[SweepSpec, Path]]:
    """The sweeps and their folders.

    Raises:
        InvalidSweep: with the problems of all files at once.
    """
    found: list[tuple[SweepSpec, Path]] = []
    problems: list[str] = []
    for path, overrides in requests:
        try:
            spec = load(path, overrides)
            found.append((spec, folder_of(spec)))
        except InvalidSweep as error:
            problems += error.problems
            continue
        if spec.compare is None:
            problems.append(
                spec.problem("compare", "must say which parameters define a line of the table, but is not there; write "
                                        "compare: {by: [adapter.name]}")
            )  # fmt: skip
    folders = [folder for _, folder in found]
    problems += [
        f"{folder.name}: must be named once, but is the sweep of several files; give each its name with --set name=..."
        for folder in dict.fromkeys(folders)
        if folders.count(folder) > 1
    ]
    if problems:
        raise InvalidSweep(problems)
    return found


def _show(sweeps: Sequence[tuple[SweepSpec, Path]]) -> int:
    from platform.analysis import compare, pairs, report
    from platform.console import console_on

    console = console_on(sys.stdout)
    for _, folder in sweeps:
        bring_tables(folder)
    compared = compare.compare(sweeps)
    report.comparison(console, compared)
    if not compared.cells:
        raise SweepError(f"a table must have a complete trial, but got none; see: python -m platform.sweep "
                         f"{sweeps[0][0].path}")  # fmt: skip
    tests = pairs.paired(compared)
    folder = next(folder for _, folder in sweeps if folder.is_dir())
    report.pairs(console, tests, str(folder / pairs.NAME))
    try:
        written = [compare.write(compared, folder), pairs.write(tests, folder)]
        mirror.push(*written)
    except OSError as error:
        raise SweepError(
            f"{folder}: must be a folder that can be written, but gave {error.strerror!r}; the table above is not kept"
        ) from error
    report.files(console, written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
