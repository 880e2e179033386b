"""A trial's trained model, to recommend with: in Python, or as a file of lists.

    python -m trainables.model runs/x/trials/8 --k 20 --out lists.tsv

writes the list of every test user. The data set must be there for that, as it holds the users' histories.

>>> from trainables.model import load
>>> model = load("runs/x/trials/8")
>>> model.recommend([["B00005AUIF", "B00006IDL3"]], k=10)[0][0].title
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables import config as configs
from trainables.runtime import registry
from trainables.runtime.worker import RESOLVED, read_resolved
from trainables.storage import mirror

if TYPE_CHECKING:
    from trainables.seqrec.recommend import Recommender, Saved

_MOST = 5
_ROWS = 512  # histories at once


class ModelError(ValueError):
    """A model that cannot be loaded, or a history that it does not know."""


@dataclass(frozen=True)
class Recommendation:
    """An item, and its score by the model: scores of one list compare, those of two need not."""

    item: str
    title: str
    score: float


class Model:
    """A trained model.

    Args:
        config: of its trial, resolved.
        saved: its file's content.
        recommender: scores all items.
    """

    def __init__(self, config: Any, saved: "Saved", recommender: "Recommender") -> None:
        self.config = config
        self.ids: Sequence[str] = saved.ids
        """The items' ids as their data set has them, by number; 0 is padding."""
        self.titles: Sequence[str] = saved.titles
        """Their titles, by number."""
        self.fingerprint = saved.fingerprint
        """Of the data set on which it was trained."""
        self.recommender = recommender
        self._number = {item: number for number, item in enumerate(saved.ids) if number}

    def recommend(
        self, histories: Sequence[Sequence[str | int]], k: int = 10, *, exclude_history: bool = True
    ) -> list[list[Recommendation]]:
        """The ``k`` best items after each history, the best first.

        Args:
            histories: the items of each user, oldest first: ids of the data set, or numbers from 1.
            k: the length of a list.
            exclude_history: whether items of the history are left out.

        Raises:
            ModelError: a history is empty, or names an item that the model does not know.
        """
        import torch

        rows = [self._numbers(place, history) for place, history in enumerate(histories)]
        lists: list[list[Recommendation]] = []
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            score_BI = self.recommender.scores(part).to("cpu", torch.float32, copy=True)
            score_BI[:, 0] = -torch.inf
            if exclude_history:
                row = torch.tensor([place for place, history in enumerate(part) for _ in history])
                score_BI[row, torch.tensor([item for history in part for item in history])] = -torch.inf
            best = score_BI.topk(min(k, len(self.ids) - 1), dim=1)
            for scores, items in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                found = zip(scores, items, strict=True)
                lists.append([Recommendation(self.ids[i], self.titles[i], s) for s, i in found if s != -torch.inf])
        return lists

    def _numbers(self, place: int, history: Sequence[str | int]) -> list[int]:
        numbers = [each if isinstance(each, int) else self._number.get(each, 0) for each in history]
        unknown = [each for each, number in zip(history, numbers, strict=True) if not 0 < number < len(self.ids)]
        if unknown or not numbers:
            what = f"{', '.join(map(repr, unknown[:_MOST]))} is none of its {len(self.ids) - 1} items"
            rule = f"history {place}: must hold items that the model knows, but {what if unknown else 'is empty'}"
            raise ModelError(f"{rule}; model.ids has them all")
        return numbers


def load(trial: str | Path, device: str = "cpu", trainable: str | None = None) -> Model:
    """The model that a trial trained, as it was at the step that its test values are of.

    Nothing is run that the folder brings along: it holds tensors and text. The data set need not be there.

    Args:
        trial: its folder, such as ``runs/x/trials/8``, or the artifacts of its run.
        device: where it scores, such as ``cuda``.
        trainable: the trial's, where that is a package of your own: its code runs, so it is not taken from the folder.

    Raises:
        ModelError: the folder lacks a part, is of another version, or its trainable does not recommend.
    """
    from trainables.seqrec.recommend import SavedError, read

    folder = mirror.local_path(str(trial)).expanduser()
    folder = folder / "artifacts" if (folder / "artifacts").is_dir() else folder
    try:
        named, values = read_resolved(folder)
    except configs.ConfigError as error:
        rule = f"{folder}: must be the folder of a trial, with its {RESOLVED}, but {error}"
        raise ModelError(f"{rule}; name a folder such as runs/<sweep>/trials/8") from None
    if named not in registry.names() and trainable != named:
        rule = f"{folder}: its trainable must be one of ours or be named by you, but it is {named!r}"
        raise ModelError(f"{rule}; load(..., trainable={named!r}) runs that package's code")
    make = registry.load_recommender(named)
    if make is None:
        raise ModelError(f"{named}: must have a function recommender in its run.py to be loaded, but has none; add it")
    try:
        config = configs.build(registry.load(named).config, values)
        saved = read(folder / mirror.WEIGHTS, device)
        return Model(config, saved, make(config, saved, device))
    except (SavedError, configs.ConfigError) as error:
        raise ModelError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the lists of all test users."""
    parser = argparse.ArgumentParser(
        prog="python -m trainables.model", description="Write the lists of all test users."
    )
    parser.add_argument("trial", help="a trial's folder, such as runs/x/trials/8")
    parser.add_argument("--k", type=int, default=10, help="items in a list (10)")
    parser.add_argument("--out", type=Path, required=True, help="the table to write: user, rank, item, score, title")
    parser.add_argument("--device", default="cpu", help="where it scores, such as cuda (cpu)")
    options = parser.parse_args(arguments)
    try:
        model = load(options.trial, options.device)
        users = list(_test_users(model))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    lists = model.recommend([history for _, history in users], options.k, exclude_history=model.config.data.mask_seen)
    with options.out.open("w", newline="") as stream:
        table = csv.writer(stream, delimiter="\t", lineterminator="\n")
        table.writerow(("user", "rank", "item", "score", "title"))
        for (user, _), best in zip(users, lists, strict=True):
            table.writerows((user, rank, each.item, each.score, each.title) for rank, each in enumerate(best, 1))
    sys.stdout.write(f"{options.out}: {len(users)} lists\n")
    return 0


def _test_users(model: Model) -> Iterator[tuple[int, list[int]]]:
    """The number of each test user, and the history that the test gives."""
    from trainables.data import sequences, splits
    from trainables.storage.stages import Stages

    with tempfile.TemporaryDirectory(prefix="sweep-model-") as scratch:
        read = sequences.load(model.config.data, Stages(Path(scratch)))
        if read.fingerprint != model.fingerprint:
            rule = f"data: must be those of the model (fingerprint {model.fingerprint}), but are {read.fingerprint}"
            raise ModelError(f"{rule}; point $SWEEP_DATA to the data set that it was trained on")
        rows = splits.split(read, model.config.data).test
        for user, start, stop in zip(rows.user_N.tolist(), rows.start_N.tolist(), rows.stop_N.tolist(), strict=True):
            yield user, read.items[start:stop].tolist()


if __name__ == "__main__":
    sys.exit(main())
