"""Trial: all that a trainable sees of the sweep around it.

A trainable reports first and saves after, so that a crash between the two redoes one step and loses nothing.
"""

import contextlib
import json
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from trainables.fields import require_name
from trainables.redaction import redact, redact_values
from trainables.storage import cache, checkpoint, mirror
from trainables.storage.stages import Stages

STATUS = "status"
TAGS = "tags.json"
TRACEBACK = "traceback.txt"

# Why a worker's part of a trial ended: its last word to the driver.
FINISHED = "finished"
EXCEPTION = "exception"
OUT_OF_MEMORY = "out of memory"
DISK_FULL = "disk full"
NON_FINITE = "non-finite objective"
RETIRED = "worker retired"
WORKER_LOST = "worker lost"
"""Said by the driver: the worker had no last word."""

Metrics = Mapping[str, float]

_ARTIFACTS = ("artifacts/", "ranks/")
_LONGEST_PHASE = 50
_SHOWN = 40  # characters of a name in a message

_METRIC_WORDS = ("train", "valid", "test", "trial")
"""First words of the metrics of a trial that has no phases."""


class TrialStopped(BaseException):
    """Raised by ``Trial.report`` where the trial must end; not an error, so never caught by ``except Exception``."""


class Trial(Protocol):
    """All that a trainable may know and do. Every implementation passes ``tests/contract/test_trials.py``.

    >>> trial = LocalTrial(Path("trial"))
    >>> state = trial.load() or {"epoch": 0}
    >>> for epoch in range(state["epoch"] + 1, 3):
    ...     trial.report(epoch, {"valid/ndcg_10": epoch / 10})
    ...     trial.save({"epoch": epoch})
    >>> trial.load(), trial.reports[-1]
    ({'epoch': 2}, (2, {'valid/ndcg_10': 0.2}))
    """

    number: int
    """The trial's number in its sweep, from 0."""
    attempt: int
    """Number of earlier starts of the trial: 0 at the first start."""
    seed: int
    """Seed of all training randomness (the config's ``seed``)."""
    device: str
    """``cpu`` or ``cuda:<index>``."""
    rank: int
    """From 0. Ranks other than 0 compute alike; their reports, states, tags and status are dropped, and their artifacts
    lie apart."""
    world_size: int
    """Ranks of the trial, in one process group of torch.distributed where there are several."""
    folder: Path
    """The trial's own folder in the storage."""
    checkpoints: Path
    """Folder in which ``save`` and ``load`` keep the checkpoints."""
    stages: Stages
    micro_batch_divisor: int
    """Divide the micro-batch by this and accumulate, after an attempt ran out of memory."""

    def report(self, step: int, metrics: Metrics, last: bool = False) -> None:
        """Hand over ``metrics`` (``split/name_k`` -> finite or not number) of ``step``; returns once they are on disk.

        Args:
            step: epoch or optimiser step.
            metrics: by name.
            last: no report of the validation split follows. Early stopping then never ends the trial: nothing would be
                saved, and the trial's result would be lost.

        Raises:
            TrialStopped: the trial must end here.
            ValueError: a metric or the step is no number; metrics of the validation split follow the last report.
        """

    def status(self, text: str) -> None:
        """Show ``text`` in the progress line of this trial; "" takes it away again."""

    def phase(self, name: str, offset: int = 0, *, checkpoints: Path | None = None) -> "Trial":
        """A Trial for one phase of this one: ``name/`` before each metric, steps counted on, checkpoints of its own.

        Args:
            name: letters, digits and underscores, none of the words that metrics begin with; "" for the phase whose
                metrics are the trial's own (``valid/...``), which is the only one that search and early stopping see.
            offset: how many steps the phases before it take; added to each step reported.
            checkpoints: where ``save`` and ``load`` keep them, such as the scratch folder of a stage; by default a
                folder of the phase's name in the trial's own, and for "" the trial's own.

        Raises:
            ValueError: the name does not do for a phase, or the offset is negative.
        """

    def save(self, state: dict[str, Any]) -> None:
        """Keep ``state`` (nested dicts and lists of tensors and plain values) as the newest checkpoint."""

    def load(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, or None."""

    def artifact(self, name: str) -> Path:
        """A path to write an artifact to (``plots/curve.csv``); what lies there at the end is logged with the trial.

        Raises:
            ValueError: a part of the name is no plain name.
        """

    def tag(self, name: str, value: str) -> None:
        """State a fact about the trial (``data.fingerprint``), kept as a tag of its run."""


class LocalTrial:
    """A Trial in this process; ``send`` decides where its reports go.

    Args:
        folder: the trial's own folder; made if missing.
        send: called with each report's step and metrics, and with True if it is the last. It may raise
            ``TrialStopped``. None only records.
        stages: None keeps them in ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 0,
        number: int = 0,
        attempt: int = 0,
        device: str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        stages: Stages | None = None,
        micro_batch_divisor: int = 1,
        send: Callable[[int, dict[str, float], bool], None] | None = None,
    ) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.seed = seed
        self.number = number
        self.attempt = attempt
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self.stages = Stages(stages.folder if stages else folder / "stages", owner=f"trial {number}", say=self.status)
        self.micro_batch_divisor = micro_batch_divisor
        self.reports: list[tuple[int, dict[str, float]]] = []
        self._send = send
        self._has_last = False
        self._status: str | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._held: object = cache.pin_writable(folder)

    def report(self, step: int, metrics: Metrics, last: bool = False) -> None:
        """See :meth:`Trial.report`."""
        step = _whole(step)
        if self._has_last and (late := [name for name in metrics if str(name).startswith("valid/")]):
            raise ValueError(
                f"a trial must report nothing of the validation split after its last report, but got {late[0]} at step "
                f"{step}; give last=True with that one"
            )
        self._has_last = self._has_last or last
        if self.rank:
            return
        self.upload_artifacts()  # whoever takes the report may log what belongs to it
        line = {name: _number(name, value, step) for name, value in metrics.items()}
        self.reports.append((step, line))
        if self._send:
            self._send(step, line, last)

    def status(self, text: str) -> None:
        """See :meth:`Trial.status`."""
        if text != self._status and not self.rank:  # who waits says the same again and again
            (self.folder / STATUS).write_text(redact(text))
            mirror.push(self.folder / STATUS)
            self._status = text

    def phase(self, name: str, offset: int = 0, *, checkpoints: Path | None = None) -> "Phase":
        """See :meth:`Trial.phase`."""
        return Phase(self, name, offset, checkpoints=checkpoints)

    def save(self, state: dict[str, Any]) -> None:
        """See :meth:`Trial.save`."""
        if not self.rank:
            checkpoint.save(self.checkpoints, state)

    def load(self) -> dict[str, Any] | None:
        """See :meth:`Trial.load`."""
        return checkpoint.load(self.checkpoints)

    def artifact(self, name: str) -> Path:
        """See :meth:`Trial.artifact`."""
        for part in name.split("/"):
            require_name(f"each part of an artifact's name ({name[:_SHOWN]!r})", part)
        path = (self.folder / "ranks" / str(self.rank) if self.rank else self.folder / "artifacts") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def tag(self, name: str, value: str) -> None:
        """See :meth:`Trial.tag`."""
        if self.rank:
            return
        path = self.folder / TAGS
        mirror.pull_file(path)  # an attempt on another node may have written it
        known: Any = {}
        with contextlib.suppress(FileNotFoundError, ValueError):  # the driver tells of a file that is none of ours
            known = json.loads(path.read_bytes())
        known = known if isinstance(known, dict) else {}
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({**known, **redact_values({name: value})}))
        draft.rename(path)
        mirror.push(path)

    def upload_artifacts(self) -> None:
        """Have the artifacts where the driver finds them; needed at the end only where the folder is a copy."""
        mirror.push_changed(self.folder, lambda name: name.startswith(_ARTIFACTS))

    def delete_local(self) -> None:
        """The trial has ended on this node: drop the copies of its files."""
        if mirror.remote_of(self.folder):
            mirror.delete_local(self.folder)
        self._held = None


def _whole(step: object) -> int:
    try:
        if -(2**63) <= (number := operator.index(step)) < 2**63:  # type: ignore[arg-type]
            return number
    except TypeError:
        pass
    raise ValueError(f"a step must be a whole number of 64 bits, but got {repr(step)[:_SHOWN]}; report int(step)")


def _number(name: object, value: object, step: int) -> float:
    if not isinstance(name, str):
        raise ValueError(f"a metric must have a name such as valid/ndcg_10, but got {name!r} at step {step}; rename it")
    try:
        return float(value)  # type: ignore[arg-type]  # numbers, and arrays and tensors of one
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        shown = repr(value)[:_SHOWN]
        raise ValueError(f"a metric must be a number, but {name} is {shown} at step {step}; report a number") from error


class Phase:
    """One phase of a trial: ``name/`` before each metric, its own checkpoints, steps counted on from ``offset``.

    Metrics of a named phase never start with ``valid/``, so that neither search nor early stopping sees them. A phase
    of a phase adds its name and offset to those of the outer one.
    """

    def __init__(self, trial: Trial, name: str, offset: int = 0, *, checkpoints: Path | None = None) -> None:
        if name and (not re.fullmatch(rf"\w{{1,{_LONGEST_PHASE}}}", name, re.ASCII) or name in _METRIC_WORDS):
            raise ValueError(
                f"a phase must be named by letters, digits and underscores, at most {_LONGEST_PHASE}, and not "
                f"{', '.join(_METRIC_WORDS)}, but got {name!r}; take a word like phase1"
            )
        if offset < 0:
            raise ValueError(f"a phase's offset must be at least 0, but got {offset}; give the steps before the phase")
        self.checkpoints = checkpoints or (trial.checkpoints / name if name else trial.checkpoints)
        self._trial = trial
        self._name = name
        self._offset = offset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def report(self, step: int, metrics: Metrics, last: bool = False) -> None:
        """See :meth:`Trial.report`; the last report of a named phase is none of the trial's."""
        prefix = f"{self._name}/" if self._name else ""
        named = {f"{prefix}{key}": value for key, value in metrics.items()}
        self._trial.report(self._offset + _whole(step), named, last and not self._name)

    def status(self, text: str) -> None:
        """See :meth:`Trial.status`."""
        self._trial.status(f"{self._name}: {text}" if self._name and text else text)

    def phase(self, name: str, offset: int = 0, *, checkpoints: Path | None = None) -> "Phase":
        """See :meth:`Trial.phase`."""
        return Phase(self, name, offset, checkpoints=checkpoints)

    def save(self, state: dict[str, Any]) -> None:
        """See :meth:`Trial.save`."""
        if not self._trial.rank:
            checkpoint.save(self.checkpoints, state)

    def load(self) -> dict[str, Any] | None:
        """See :meth:`Trial.load`."""
        return checkpoint.load(self.checkpoints)
