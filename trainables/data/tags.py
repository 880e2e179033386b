"""Tags that identify the rows of an evaluation: a paired test compares only trials with the same tags."""

from trainables.data.config import Data
from trainables.data.rows import Splits
from trainables.trial import Trial


def tag_rows(trial: Trial, splits: Splits, data: Data) -> None:
    """Tag the trial with ``data.rows``, the fingerprint of its rows, and ``data.mask_seen``, true or false."""
    trial.tag("data.rows", splits.fingerprint)
    trial.tag("data.mask_seen", str(data.mask_seen).lower())
