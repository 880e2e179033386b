"""The driver's message to a worker, which Ray Tune carries as the config of a trial of its own."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from trainables.redaction import holds_secret
from trainables.storage import mirror

VALUES = "trial.json"
"""The driver's file of a trial's values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One start of a trial."""

    trainable: str
    """A built-in name or a dotted path."""
    values: dict[str, Any]
    """Flat values for its Config, by dotted field."""
    number: int
    """The trial's number in its sweep, from 0."""
    attempt: int = 0
    """Number of earlier starts of the trial."""
    micro_batch_divisor: int = 1
    """2 after an attempt ran out of memory, if the trainable's batches may be divided."""
    folder: str
    """The trial's folder in the storage: an absolute path, or ``s3://bucket/key``."""
    stages: str
    """The folder of shared stages, likewise."""
    cpus: float
    """Cores for all ranks together."""
    gpus: float = 0.0
    """GPUs for all ranks together. Below 1 it is a share of one."""
    ranks: int = 1
    """Processes that train the trial together."""
    nodes: int = 1
    """Nodes that the ranks are spread over evenly."""
    is_redacted: bool = False
    """True if ``values`` lack those that hold a secret, which the trial's own file has."""

    def redacted(self) -> "Task":
        """The task without values that hold a secret: Ray writes what it carries to files that everybody can read."""
        values = {name: value for name, value in self.values.items() if not holds_secret({name: value})}
        return dataclasses.replace(self, values=values, is_redacted=len(values) < len(self.values))

    def whole(self) -> "Task":
        """The task with all its values, some of them from the trial's file.

        Raises:
            OSError: the file cannot be read here.
        """
        if not self.is_redacted:
            return self
        path = mirror.local_path(self.folder) / VALUES
        mirror.pull_file(path)
        values = json.loads(path.read_text())["values"]
        return dataclasses.replace(self, values=values, is_redacted=False)

    def to_dict(self) -> dict[str, Any]:
        """The task in plain values, which :meth:`from_dict` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Task":
        """The task in ``record``, to which Tune may have added keys of its own."""
        return cls(**{field.name: record[field.name] for field in dataclasses.fields(cls)})
