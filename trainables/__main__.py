"""``python -m trainables spectran fit.epochs=2``: one trial in this process, no Ray, no MLflow."""
# PYTHON_ARGCOMPLETE_OK

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from trainables import config as configs
from trainables.redaction import HIDDEN
from trainables.runtime import registry
from trainables.runtime.on_ray import device
from trainables.runtime.worker import RESOLVED, read_resolved, run_trial, training_seed
from trainables.storage import mirror
from trainables.trial import LocalTrial

_WIDTH = 100
"""Columns where there is no terminal."""


def main(arguments: list[str] | None = None) -> int:
    """Run one trial and print one JSON line a report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainables", description=__doc__, add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="this, and with a trainable also its fields")
    parser.add_argument("trainable", nargs="?", help="a built-in name, or a dotted path of a package of your own")
    parser.add_argument("values", nargs="*", metavar="field=value", help="dotted fields of its Config, in any order")
    parser.add_argument(
        "--folder", type=Path, help="checkpoints and artifacts go here; default: one in runs/single for each setting"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="TRIAL",
        help="run the trial in this folder again, by its own values",
    )
    parser.add_argument("--gpu", action="store_true", help="train on the first GPU")
    _complete(parser)
    options = _parsed(parser, arguments)
    if options.help:
        return _help(parser, options.trainable)
    values = {key: _scalar(text) for key, _, text in (pair.partition("=") for pair in options.values)}
    if options.source:
        try:
            options.trainable, values = _again(options.source, options.trainable, values)
        except configs.ConfigError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    if options.trainable is None:
        parser.error(f"name a trainable: {', '.join(registry.names())}, or a dotted path of your own")
    setting = hashlib.sha256(json.dumps([options.trainable, values], sort_keys=True).encode()).hexdigest()[:8]
    folder = options.folder or Path("runs/single") / f"{options.trainable}-{setting}"
    if options.source and folder.resolve() == mirror.local_path(str(options.source)).expanduser().resolve():
        sys.stderr.write(f"--folder: must be another folder than that of the trial, {folder}, but is not; name one\n")
        return 2

    def show(step: int, metrics: dict[str, float], last: bool) -> None:
        sys.stdout.write(json.dumps({"step": step, **metrics}) + "\n")

    try:
        _check(options.trainable, values)
        trial = LocalTrial(folder, seed=training_seed(values), device=device(float(options.gpu)), send=show)
        run_trial(options.trainable, values, trial)
    except (configs.ConfigError, registry.InvalidTrainable) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _again(source: Path, trainable: str | None, changed: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The trainable and the values of the trial in ``source``, some of them ``changed``.

    Raises:
        ConfigError: there is no trial, it is another trainable's, or a value was hidden there.
    """
    try:
        named, values = read_resolved(mirror.local_path(str(source)).expanduser() / "artifacts")
    except configs.ConfigError as error:
        rule = f"--from: must be a trial's folder, with artifacts/{RESOLVED}, but {error}"
        raise configs.ConfigError([f"{rule}; name one such as runs/<sweep>/trials/8"]) from None
    if trainable not in (None, named):
        raise configs.ConfigError([f"--from: that trial is of {named}, but got {trainable}; leave the name out"])
    parts = [
        name.removesuffix("name")
        for name, value in changed.items()
        if name.endswith(".name") and value != values.get(name)
    ]
    values = {name: value for name, value in values.items() if not name.startswith(tuple(parts))} | {**changed}
    if hidden := [name for name, value in values.items() if isinstance(value, str) and HIDDEN in value]:
        rule = f"--from: every value must be known, but {', '.join(hidden)} was hidden as a secret"
        raise configs.ConfigError([f"{rule}; write {hidden[0]}=VALUE"])
    return named, values


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for words, and exit; nothing else."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        for action in parser._actions:
            if action.dest in ("trainable", "values"):
                action.completer = _offered  # type: ignore[attr-defined]
        argcomplete.autocomplete(parser, always_complete_options="long")


def _offered(prefix: str, parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """The trainables, then `field=` for each field of the one that is typed, and its choices."""
    if parsed_args.trainable not in registry.names():
        return dict.fromkeys(registry.names(), "")
    fields = configs.field_names(registry.load(parsed_args.trainable).config)
    name, equals, _value = prefix.partition("=")
    if not equals:
        return {f"{field.name}=": field.doc.partition(". ")[0] for field in fields.values()}
    choices = dict(fields[name].choice_docs) if name in fields else {}
    return {f"{name}={choice}": doc for choice, doc in choices.items()}


def _parsed(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """The options, with the trainable and its values wherever they stand among them."""
    options, strange = parser.parse_known_intermixed_args(arguments)
    words = [word for word in (options.trainable, *options.values) if word is not None]
    options.values = [word for word in words if "=" in word]
    options.trainable, *others = [word for word in words if "=" not in word] or [None]
    if strange or others:
        wrong = (strange or others)[0]
        name, _, value = wrong.lstrip("-").partition("=")
        value = value or next((word for word in (*strange, *others) if word != wrong), "VALUE")
        remedy = f"write {_field(options.trainable, name.replace('-', '_'))}={value}"
        parser.error(f"a value must be written field=value, but got {wrong!r}; {remedy}")
    return options


def _field(trainable: str | None, word: str) -> str:
    """The dotted field that `word` names, or `word` itself."""
    try:
        names = list(configs.field_names(registry.load(trainable or "").config))
    except registry.InvalidTrainable:
        names = []
    return next((name for name in names if word in (name, name.rpartition(".")[2])), word)


def _check(name: str, values: Mapping[str, object]) -> None:
    """Print the trainable's notes on ``values``.

    Raises:
        InvalidTrainable: there is no such trainable.
        ConfigError: the values do not fit its config, or its check has something against them.
    """
    trainable = registry.load(name)
    config = configs.build(trainable.config, values)
    if problems := list(trainable.check(config)) if trainable.check else []:
        raise configs.ConfigError(problems)
    sys.stderr.writelines(f"note: {note}\n" for note in (trainable.notes(config) if trainable.notes else ()))


def _help(parser: argparse.ArgumentParser, name: str | None) -> int:
    """Print the command's help and, where a trainable is named, its fields and the metrics that it reports."""
    if name is None:
        sys.stdout.write(f"{parser.format_help()}\ntrainables: {', '.join(registry.names())}\n")
        return 0
    try:
        trainable = registry.load(name)
    except registry.InvalidTrainable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    fields = (_described(field) for field in configs.field_names(trainable.config).values())
    metrics = _filled(", ".join(trainable.metrics), 2, 2)
    sys.stdout.write(
        f"{parser.format_help()}\nfields of {name}, which a sweep's `parameters` take as well:\n\n"
        f"{''.join(fields)}\nmetrics that it reports:\n{metrics}\n"
    )
    return 0


def _described(field: configs.Field) -> str:
    """A field with its type, its default, where it is there, and its docstring."""
    required = field.default is dataclasses.MISSING
    lines = [
        f"{field.name}: {field.type_text}; {'must be given' if required else f'default {json.dumps(field.default)}'}"
    ]
    if field.choices:
        several = "; type and default are the first one's" if len(field.choices) > 1 else ""
        lines.append(f"with {' or '.join(field.choices)}{several}")
    if field.doc:
        lines.append(field.doc)
    first, *others = lines
    choices = [f"{name}: {doc}" for name, doc in field.choice_docs if doc]
    filled = [_filled(first, 2), *(_filled(line, 6, 6) for line in others), *(_filled(line, 8) for line in choices)]
    return "".join(f"{text}\n" for text in filled)


def _filled(text: str, indent: int, then: int | None = None) -> str:
    """A paragraph as wide as the terminal."""
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    below = " " * (indent + 4 if then is None else then)
    words = " ".join(text.split())
    return textwrap.fill(words, width, initial_indent=" " * indent, subsequent_indent=below, break_on_hyphens=False)


def _scalar(text: str) -> object:
    """``2`` a number, ``true`` a truth value, ``null`` nothing, anything else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a number of 5,000 digits is no JSON for Python either
        return text


if __name__ == "__main__":
    sys.exit(main())
