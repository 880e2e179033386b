"""Notes on a data set: what stops no run, but what a reader of its results must know. No torch, no scikit-learn."""

import functools
import tempfile
from pathlib import Path

import numpy as np

from trainables.data.atomic import locate, read_table
from trainables.data.checks import FileFacts, Signature, check, file_facts
from trainables.data.config import Data
from trainables.data.facts import targets_in_history
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.data.titles import told, wrong_titles
from trainables.storage.stages import Stages

_RATINGS = ("rating", "ratings", "stars", "score", "overall")


def notes(data: Data) -> list[str]:
    """Say which order counts, what is not read and which targets are never hit; [] of data that will not do."""
    facts = file_facts(data)
    if facts is None or check(data, text=False):
        return []
    hidden = _hidden(data, facts) if data.mask_seen and data.mask_target else None
    sentences = [*_of_files(facts), _of_titles(data, facts.signature), hidden]
    return [f"{data.name}: {text}" for text in sentences if text]


def _of_files(facts: FileFacts) -> list[str]:
    sentences = []
    if facts.untimed == facts.interactions:
        sentences.append("no line has a timestamp, so the order of the lines is taken as each user's order")
    elif facts.untimed:
        sentences.append(
            f"{facts.untimed} of {facts.interactions} lines have no timestamp; each user's times ascend where they "
            "stand, so the order of the lines is taken"
        )
    if ratings := [name for name in facts.columns if name.lower() in _RATINGS]:
        sentences.append(
            f"the column {ratings[0]} is not read, so that every line counts alike; leave low ratings out when the "
            "data are prepared (python -m trainables.data prepare --min-rating)"
        )
    return sentences


@functools.lru_cache(maxsize=8)
def _of_titles(data: Data, signature: Signature) -> str | None:
    """Titles that are none or were not cleaned; those of a file are read as they stand, but for their entities."""
    path = locate(data.name, data.root) / f"{data.name}.item"
    wrong = wrong_titles(read_table(path, ("item_id", "title")).columns["title"])
    return f"{path.name} has titles that prepare would change, read as they stand: {told(wrong)}" if wrong else None


def _hidden(data: Data, facts: FileFacts) -> str | None:
    """The targets that `mask_seen` takes out of the ranking."""
    valid, valids, test, tests = _count_hidden(data, facts.signature)
    if not valid and not test:
        return None
    return (
        f"data.mask_seen takes {test} of {tests} test targets and {valid} of {valids} of validation out of the "
        f"ranking, as their users met them before, so that no method hits them and HR is at most "
        f"{1 - test / tests:.3f}; data.mask_target: false leaves them in, data.duplicates: drop has none"
    )


@functools.lru_cache(maxsize=8)
def _count_hidden(data: Data, signature: Signature) -> tuple[int, int, int, int]:
    """Targets that their users met before, and targets, of validation and test."""
    with tempfile.TemporaryDirectory() as folder:
        sequences = load(data, Stages(Path(folder)))
        splits = split(sequences, data)
        met = [int(np.count_nonzero(targets_in_history(sequences, rows))) for rows in (splits.valid, splits.test)]
        return met[0], len(splits.valid), met[1], len(splits.test)
