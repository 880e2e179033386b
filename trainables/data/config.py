"""Settings of a data set, its split and its text vectors."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal

from trainables.config import at_least
from trainables.fields import require_name

Duplicates = Literal["keep", "drop", "drop-adjacent"]
"""Treatment of records whose user met the item before: `keep` all, `drop` all, or drop those right after such a one."""

ROWS_READ = (
    *(f"data.{name}" for name in ("split", "split_seed", "train_rows", "held_out_rows", "eval_rows", "mask_seen")),
    *(f"data.{name}" for name in ("max_history", "keep_last")),
)
"""Fields that decide what is trained on, evaluated and ranked, for the keys of stages that train; the interactions and
the rows themselves, `mask_target` with them, reach a key as `Splits.trained_on`."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """One data set, how it is split, and where the items' text vectors come from."""

    name: str = "synthetic"
    """Folder of RecBole atomic files, `<root>/<name>/<name>.inter` and `.item`; `synthetic` is built in."""
    root: str | None = None
    """Folder (or s3://bucket/prefix) that holds the data sets; by default $SWEEP_DATA, then ./data."""
    text: str = "tfidf"
    """`tfidf` (no download), a `.npy` file beside the data, or a sentence-transformers model (name or folder). An item
    without words may have a zero vector, which stays zero; a vector that is not finite is refused."""
    text_width: Annotated[int, at_least(1)] = 256
    """Largest width V of `tfidf` vectors; fewer where the titles have fewer distinct terms. Others ignore it."""
    split: Literal["leave_one_out", "users", "time"] = "leave_one_out"
    """`leave_one_out`: each user's last item tests, the one before validates (SpecTran, PAD); `users`: whole users are
    held out 8:1:1 (AlphaFuse); `time`: windows in order of time, 8:1:1 (HatLLM), needs timestamps."""
    split_seed: Annotated[int, at_least(0)] = 0
    """Draws the users that are held out and the rows of `eval_rows`; apart from `seed`, so that trials compare."""
    train_rows: Literal["last", "all"] = "last"
    """`last`: one training row a user, target the last item before those held out; `all`: one for every prefix. Split
    `time` trains on every window."""
    held_out_rows: Literal["last", "all"] = "last"
    """Of split `users`: evaluate a held-out user's last item, or `all` but the first (DreamRec)."""
    eval_rows: Annotated[int, at_least(1)] | None = None
    """Validation and test rows each, drawn where there are more (HatLLM: 5000); null takes all."""
    mask_seen: bool = False
    """True removes the user's earlier items from the ranking in evaluation, as PAD does (AlphaFuse does not)."""
    mask_target: bool = True
    """Of `mask_seen`: true also removes a target that is among the earlier items and then never hit, as PAD's released
    code does; false leaves the target in."""
    duplicates: Duplicates = "keep"
    """Of interactions with an item that the user met before: `keep` all (the papers' counts hold them), `drop` all, so
    that an item counts once for a user, or `drop-adjacent`, those right after one with the same item."""
    max_history: Annotated[int, at_least(1)] = 10
    """Items of history that a row holds at most (SpecTran and HatLLM: 10, PAD: 20); with split `time` this also decides
    where windows begin."""
    keep_last: Annotated[int, at_least(4)] | None = 13
    """Interactions kept of each user, the newest, before any split (SpecTran: 13, PAD: 23); null keeps all, as HatLLM
    does: with split `time`, 13 leaves at most three windows a user of history 10."""

    def __post_init__(self) -> None:
        """Refuse what would leave the data folder.

        Raises:
            ValueError: the name is no plain one, or the text vectors lie above the data.
        """
        require_name("name", self.name)
        if self.text.endswith(".npy") and (".." in PurePath(self.text).parts or "\0" in self.text):
            raise ValueError(f"text must lie beside the data or be an absolute path, but got {self.text!r}; write that")
