"""Data sets on disk: ``python -m trainables.data prepare`` and ``python -m trainables.data encode``.

`prepare` makes RecBole atomic files from the public Amazon and MIND dumps. `encode` makes the text vectors beside them.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import get_args

from trainables.data.atomic import DataError
from trainables.data.config import Duplicates
from trainables.data.dumps import FORMATS
from trainables.data.prepare import PROTOCOLS, RECIPES, prepare
from trainables.data.text import encode


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 for invalid input."""
    parser = argparse.ArgumentParser(prog="python -m trainables.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_prepare(commands.add_parser("prepare", help="turn a public dump into <out>/<name>/<name>.inter and .item"))
    _add_encode(commands.add_parser("encode", help="write <name>.<model>.npy, the vectors of the titles, beside them"))
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "prepare":
            _prepare(chosen)
        else:
            path = encode(chosen.name, chosen.model, chosen.root)
            _print(f"{path}: vectors of every title; name them by data.text={path.name}")
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _add_encode(options: argparse.ArgumentParser) -> None:
    options.add_argument("--name", required=True, help="of the data set, as data.name")
    options.add_argument("--model", required=True, help="a sentence-transformers model, by name or folder")
    options.add_argument("--root", help="folder of data sets, as data.root (default: $SWEEP_DATA, then ./data)")


def _add_prepare(options: argparse.ArgumentParser) -> None:
    options.add_argument("--format", required=True, choices=FORMATS)
    options.add_argument(
        "--reviews", required=True, type=Path, nargs="+", metavar="FILE", help="reviews, or behaviors.tsv; may be .gz"
    )
    options.add_argument(
        "--meta", required=True, type=Path, nargs="+", metavar="FILE", help="metadata with titles, or news.tsv"
    )
    options.add_argument("--out", required=True, type=Path, help="folder of data sets, as data.root or $SWEEP_DATA")
    options.add_argument("--name", required=True, help="of the new data set, as data.name")
    options.add_argument("--recipe", choices=RECIPES, default="spectran", help="a paper's filters (default: spectran)")
    options.add_argument("--min-rating", type=float, metavar="R", help="drop interactions rated lower")
    options.add_argument("--k-core", type=_count, metavar="K", help="interactions a user and an item must have")
    options.add_argument("--min-user", type=_count, metavar="N", help="interactions a user must have")
    options.add_argument("--duplicates", choices=get_args(Duplicates), help="repeats of a user's item (default: keep)")
    options.add_argument(
        "--drop-untitled", action=argparse.BooleanOptionalAction, default=None, help="drop items without a title"
    )


def _prepare(chosen: argparse.Namespace) -> None:
    """Prepare one data set and print what each filter left."""
    filters = RECIPES[chosen.recipe]
    if not FORMATS[chosen.format].rated:
        filters = dataclasses.replace(filters, min_rating=None)
    given = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(filters)}
    filters = dataclasses.replace(filters, **{name: value for name, value in given.items() if value is not None})
    protocol = PROTOCOLS[chosen.recipe]
    prepare(chosen.format, chosen.reviews, chosen.meta, chosen.out, chosen.name, filters, _print, protocol)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, but got {text!r}; write 1 to keep all")
    return number


if __name__ == "__main__":
    sys.exit(main())
