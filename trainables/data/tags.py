"""What a trial says of the rows it was evaluated on: only trials that say the same are compared by a paired test."""

from trainables.data.config import Data
from trainables.data.rows import Splits
from trainables.trial import Trial


def tag_rows(trial: Trial, splits: Splits, data: Data) -> None:
    """Tag the trial with ``data.rows``, the fingerprint of its rows, and ``data.mask_seen``, true or false."""
    trial.tag("data.rows", splits.fingerprint)
    trial.tag("data.mask_seen", str(data.mask_seen).lower())
