"""Options of the commands, and the remedy for a word that is none: another option, or the `--set` of a key."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from platform.errors import nearest, short
from platform.sweepfile.overrides import key_meant
from platform.sweepfile.yaml_lines import read
from trainables.redaction import redact

_CARRIES_ON = "leave it out: the same command carries a sweep on where it stopped"
_ANEW = "write --set name=another for a sweep of its own: the same command carries this one on"
_FLAGS = {
    **dict.fromkeys(("resume", "continue", "restore", "carry_on", "auto_resume", "load_if_exists"), _CARRIES_ON),
    **dict.fromkeys(("force", "overwrite", "restart", "fresh", "no_resume", "new"), _ANEW),
    **dict.fromkeys(("dry_run", "dryrun", "simulate", "preview"), "write --plan, or --check for the file alone"),
    **dict.fromkeys(("validate", "lint", "verify"), "write --check"),
    **dict.fromkeys(("stop", "kill", "cancel"), "write --end 7 for trial 7; Ctrl-C ends the sweep so that it resumes"),
    **dict.fromkeys(("progress", "list", "ls", "show", "info"), "write --status"),
    **dict.fromkeys(("local", "no_ray", "debug"), "write --address inline"),
    **dict.fromkeys(("cluster", "ray_address", "head", "master"), "write --address auto, or host:port"),
    **dict.fromkeys(("config", "c", "file", "f", "sweep", "yaml"), "name the file without an option"),
    **dict.fromkeys(("param", "params", "override", "overrides", "o", "s", "p", "D"), "write --set KEY=VALUE"),
    **dict.fromkeys(("output", "out", "output_dir", "out_dir", "log_dir", "logdir", "results"), "write --set storage="),
    **dict.fromkeys(("workers", "j", "jobs", "parallel"), "write --set max_concurrent_trials="),
}
"""A word that other commands take, without its hyphens -> the remedy; one that ends in `=` takes the value typed."""
_TIMES = ("timeout", "time_budget_s")
"""Words of other tools for a time in seconds, which is hours here."""


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command; for words that it does not take, each remedy is printed and the command exits 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options, left = parser.parse_known_args(words)
    trainable = _trainable(words)
    flags = [word for word in left if word.startswith("-") and word != "--"]
    pairs = [word for word in (str(options.file or ""), *left) if "=" in word and _is_pair(word)]
    told = [_flag(word, _value_of(word, words), parser, trainable) for word in flags]
    told += [f"{word}: a key of the file must follow --set; write {_set(word, trainable)}" for word in pairs]
    if left and not told:
        told = [f"{word}: there must be one sweep file, but got a second word; remove it" for word in left]
    if told:
        parser.exit(2, "".join(f"{redact(text)}\n" for text in told))
    return options


def _is_pair(word: str) -> bool:
    return not word.startswith("-") and not word.endswith((".yaml", ".yml"))


def _trainable(words: Sequence[str]) -> object:
    """The trainable of the sweep file among the words of a command, where it can be read."""
    for word in words:
        try:
            data = read(Path(word).read_text(encoding="utf-8")).data if word.endswith((".yaml", ".yml")) else None
        except (OSError, ValueError):
            continue
        if isinstance(data, dict):
            return data.get("trainable")
    return None


def _value_of(flag: str, words: Sequence[str]) -> str:
    """The value typed behind an unknown option, or ""."""
    if "=" in flag:
        return flag.partition("=")[2]
    follows = words[words.index(flag) + 1 :][:1]
    return "".join(word for word in follows if not word.startswith("-") and not word.endswith((".yaml", ".yml")))


def _flag(word: str, value: str, parser: argparse.ArgumentParser, trainable: object) -> str:
    """The message for an option that the command does not have."""
    name = word.partition("=")[0]
    key = name.lstrip("-").replace("-", "_")
    typed_value = "HOURS" if key in _TIMES else value or "VALUE"
    typed = f"{name} {value}".strip() if "=" not in word else word
    rule = f"must be an option of {parser.prog}, but got {short(typed)}"
    if key == "n":
        remedy = f"write {_set(f'num_trials={value}', trainable)}" if value else _FLAGS["dry_run"]
    elif remedy := _FLAGS.get(key, ""):
        remedy += shlex.quote(typed_value) if remedy.endswith("=") else ""
    elif key_meant(key, trainable):
        remedy = f"write {_set(f'{key}={typed_value}', trainable)}"
    else:
        own = re.findall(r"--[a-z]+", parser.format_usage())
        near = nearest(name, own) if len(key) > 2 else None
        remedy = f"did you mean {near}?" if near else "--help has them all; a key of the file follows --set"
    return f"{name}: {rule}; {remedy}"


def _set(pair: str, trainable: object) -> str:
    key, _, value = pair.partition("=")
    return f"--set {shlex.quote(f'{key_meant(key.strip(), trainable) or key}={value}')}"
