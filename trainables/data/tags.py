"""Tags of the data behind an evaluation: a paired test compares only trials with the same rows and the same ranking."""

from dataclasses import asdict

from trainables.data.config import Data
from trainables.data.facts import facts
from trainables.data.rows import Splits
from trainables.data.sequences import Sequences
from trainables.trial import Trial


def tag_data(trial: Trial, sequences: Sequences, splits: Splits, data: Data) -> None:
    """Tag the trial with its data.

    ``data.fingerprint`` and ``data.rows`` identify the data and the rows, ``data.mask_seen`` is true or false,
    ``data.repeats`` and others are numbers of :class:`~trainables.data.facts.Facts`, ``data.facts`` says them all.
    """
    found = facts(sequences, splits)
    trial.tag("data.fingerprint", sequences.fingerprint)
    trial.tag("data.rows", splits.fingerprint)
    trial.tag("data.mask_seen", str(data.mask_seen).lower())
    for name, number in asdict(found).items():
        if number is not None:
            trial.tag(f"data.{name}", f"{number:.4f}" if isinstance(number, float) else str(number))
    never = data.mask_seen and data.mask_target and found.targets_in_history
    hidden = f"; data.mask_seen hides {found.targets_in_history} targets, which are never hit" if never else ""
    trial.tag("data.facts", f"{data.name}, {data.split}: {found.sentence()}{hidden}")
