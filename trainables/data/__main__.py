"""``python -m trainables.data prepare``: RecBole atomic files from the public Amazon and MIND dumps."""

import argparse
import dataclasses
import sys
from pathlib import Path

from trainables.data.atomic import DataError
from trainables.data.dumps import FORMATS
from trainables.data.prepare import RECIPES, prepare


def main(arguments: list[str] | None = None) -> int:
    """Prepare one data set and say what each filter left; returns the exit code, 2 for invalid input."""
    parser = argparse.ArgumentParser(prog="python -m trainables.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("prepare", help="turn a public dump into <out>/<name>/<name>.inter and .item")
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
    options.add_argument(
        "--drop-untitled", action=argparse.BooleanOptionalAction, default=None, help="drop items without a title"
    )
    chosen = parser.parse_args(arguments)
    filters = RECIPES[chosen.recipe]
    if not FORMATS[chosen.format].rated:
        filters = dataclasses.replace(filters, min_rating=None)
    given = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(filters)}
    filters = dataclasses.replace(filters, **{name: value for name, value in given.items() if value is not None})

    def notify(line: str) -> None:
        sys.stdout.write(line + "\n")

    try:
        prepare(chosen.format, chosen.reviews, chosen.meta, chosen.out, chosen.name, filters, notify)
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, but got {text!r}; write 1 to keep all")
    return number


if __name__ == "__main__":
    sys.exit(main())
