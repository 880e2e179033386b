"""``python -m platform.results FILE [FILE ...]``: finished sweeps, or what is there of them, as one table.

A `--set` counts for the FILE it follows, before the first FILE for all. A sweep that ran under `--set name=...` is
named with it; the other settings are read from its trials. Sweeps that run are only read. Of one sweep, its page and
pictures are drawn too. `--format` prints nothing but the table, for a paper.
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
        requests, options = _requests(sys.argv[1:] if arguments is None else arguments)
        return _show(_load_all(requests, needs_table=len(requests) > 1 or bool(options.format)), options)
    except SweepError as error:
        sys.stderr.write(f"{redact(str(error))}\n")
        return error.exit_code
    except StoreError as error:
        sys.stderr.write(f"storage: {redact(str(error))}\n")
        return SweepError.exit_code


def _requests(arguments: Sequence[str]) -> tuple[list[tuple[Path, list[str]]], argparse.Namespace]:
    """The files, each with its overrides, and the options that count for all."""
    parser = argparse.ArgumentParser(
        prog="python -m platform.results",
        description=__doc__,
        usage="%(prog)s [--format latex|markdown|csv] [--page PATH] [--set KEY=VALUE ...] "
        "FILE [--set KEY=VALUE ...] [FILE [--set KEY=VALUE ...] ...]",
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="a sweep with `compare`, see sweeps/")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="a key of the file as it was replaced when the sweep ran, such as name=...")  # fmt: skip
    parser.add_argument("--format", choices=("latex", "markdown", "csv"), help="print the table alone, in this format")
    parser.add_argument("--page", type=Path, metavar="PATH", help="write the page here, of several sweeps too")
    starts = [
        index
        for index, word in enumerate(arguments)
        if not word.startswith("-") and (index == 0 or arguments[index - 1] not in ("--set", "--format", "--page"))
    ]
    ends = [*starts[1:], len(arguments)]
    common = parser.parse_args(arguments[: starts[0] if starts else len(arguments)])
    if not starts:
        parser.error("name at least one sweep file")
    read = [parser.parse_args(arguments[start:end]) for start, end in zip(starts, ends, strict=True)]
    for options in read:
        common.format, common.page = options.format or common.format, options.page or common.page
    return [(Path(options.files[0]), [*common.overrides, *options.overrides]) for options in read], common


def _load_all(requests: Sequence[tuple[Path, Sequence[str]]], *, needs_table: bool) -> list[tuple[SweepSpec, Path]]:
    """The sweeps and their folders; each has `compare` where that is needed.

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
        if needs_table and spec.compare is None:
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


def _show(sweeps: Sequence[tuple[SweepSpec, Path]], options: argparse.Namespace) -> int:
    from platform.analysis import compare, comparison, page, pairs, report, tables
    from platform.console import console_on

    console = console_on(sys.stdout)
    for _, folder in sweeps:
        bring_tables(folder)
    compared = compare.compare(sweeps) if all(spec.compare for spec, _ in sweeps) else None
    tests = pairs.paired(compared) if compared else None
    if options.format and compared and tests and compared.cells:
        sys.stdout.write(redact(tables.render(compared, tests, options.format)))
        return 0
    if compared:
        report.comparison(console, compared)
    home = next((folder for _, folder in sweeps if folder.is_dir()), None)
    target = options.page or (home / page.NAME if home and len(sweeps) == 1 else None)
    try:
        drawn = page.write(sweeps, target, home / page.PICTURES, compared, tests, prints=True) if home else []
        written = [comparison.write(compared, home)] if home and compared and compared.cells else []
        written += [pairs.write(tests, home)] if home and tests and written else []
        mirror.push(*(path for path in (*drawn, *written) if path != options.page))
    except OSError as error:
        raise SweepError(
            f"{home}: must be a folder that can be written, but gave {error.strerror!r}; the table above is not kept"
        ) from error
    report.pictures(console, drawn)
    if tests and written and home:
        report.pairs(console, tests, str(home / pairs.NAME))
        report.files(console, written)
    elif compared or not compare.finished(*sweeps[0], []):
        raise SweepError(f"a table must have a complete trial, but got none; see: python -m platform.sweep "
                         f"{sweeps[0][0].path}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
