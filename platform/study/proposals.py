"""The point that a study asks for next: one that waits, one of the grid, one that is drawn, or the sampler's.

A sweep that compares gives each cell the same number of settings: next is the cell with fewest begun.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.errors import SweepError
from platform.space import points
from platform.space.cells import Cell, Cells
from platform.space.space import Space, Values
from platform.study.search import seed_of
from platform.study.settings import OF, SAME_AS, Settings
from platform.study.view import View, is_peer
from platform.sweepfile.spec import SweepSpec

POINT = "initial_point"

logger = logging.getLogger(__name__)

_REFUSED, _REPEATED = 20, 5
"""The sampler's proposals in a row, forbidden by a constraint or repeating a setting, before points are drawn."""


class Proposals:
    """The next points of a study. The file's first points are enqueued here, unless they were before.

    Args:
        study: Optuna's.
        spec: the sweep.
        space: its compiled parameters.
        settings: those that the study has.
        cells: of the sweep.
        view: gives the cell of a trial.
        notify: called with a sentence for the user.
    """

    def __init__(
        self,
        study: optuna.Study,
        spec: SweepSpec,
        space: Space,
        settings: Settings,
        cells: Cells,
        view: View,
        notify: Callable[[str], None] = logger.warning,
    ) -> None:
        self._study = study
        self._spec = spec
        self._space = space
        self._settings = settings
        self._cells = cells
        self._view = view
        self._notify = notify
        self._left = list(cells.values)
        self._grids: dict[Cell, Iterator[Values]] = {}
        trials = self._trials()
        known = {trial.user_attrs.get(POINT) for trial in trials}
        for point in () if trials and spec.method == "grid" else spec.initial_points:  # a grid comes to each anyway
            if (key := json.dumps(point, sort_keys=True, default=str)) not in known:
                self._enqueue(self.feasible(point), {POINT: key})

    def prepare(self) -> bool:
        """Enqueue a point where the sampler is not to choose; False if no setting is left that has not run."""
        if [trial for trial in self._waiting() if self._may_run(trial)]:  # looks at each
            return True
        begun = Counter(self._view.cell(trial) for trial in self._trials() if is_peer(trial))
        while self._left:
            cell = min(self._left, key=begun.__getitem__)  # of several, the first in the file
            if self._prepare(cell):
                return True
            self._left.remove(cell)
        return False

    def next(self) -> tuple[int, Cell]:
        """The number of the trial that is asked for next, and its cell."""
        waiting = min(self._waiting(), key=lambda trial: trial.number, default=None)
        return (waiting.number, self._view.cell(waiting)) if waiting else (len(self._trials()), ())

    def _prepare(self, cell: Cell) -> bool:
        """Enqueue a point of a cell, as far as the sampler is not to choose; False if none is left there."""
        values = self._cells.values[cell]
        if self._spec.method == "grid":
            grid = self._grids.setdefault(cell, self._space.points(values))
            return self._enqueue(next((point for point in grid if self._settings.is_new(point)), None))
        refused, repeated = self._dropped_in_a_row(cell)
        if repeated >= _REPEATED:
            return self._enqueue(self._draw(self._settings.is_new, values))
        if refused >= _REFUSED:
            return self._enqueue(self.feasible(values))
        return not values or self._enqueue(values)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _waiting(self) -> list[FrozenTrial]:
        """Enqueued settings: first points, retries, or points left by a driver that died before it asked for them."""
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [trial for trial in waiting if OF not in trial.user_attrs]

    def _may_run(self, trial: FrozenTrial) -> bool:
        """True if a setting that is enqueued can be run; one that another program enqueued wrongly is dropped."""
        fixed = trial.system_attrs.get("fixed_params", {})
        known = {stored for here in self._space.places for stored in self._space.storage_names(here.name)}
        problems = [f"{name} is no parameter of this sweep" for name in sorted(fixed.keys() - known)]
        try:
            point = self._space.from_storage(fixed, random.Random(0))
            problems += [f"{name} {text}" for name, text in self._space.misfit(point).items()]
        except ValueError as error:
            problems.append(str(error))
        if not problems and self._view.cell(trial) not in self._cells.values:
            problems.append(f"it must say {' and '.join(self._cells.axes)}")
        if problems:
            self._notify(f"an enqueued setting is left out: {'; '.join(problems)}")
            self._study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return not problems

    def _dropped_in_a_row(self, cell: Cell) -> tuple[int, int]:
        """Number of a cell's newest points in a row that were dropped: forbidden ones, and repeats."""
        refused = repeated = 0
        for trial in reversed(self._trials()):
            if OF in trial.user_attrs or self._view.cell(trial) != cell:
                continue
            if SAME_AS in trial.user_attrs:
                repeated += 1
            elif trial.state == TrialState.PRUNED and not is_peer(trial):
                refused += 1
            else:
                break
        return refused, repeated

    def feasible(self, point: Mapping[str, Any] | None = None) -> Values:
        """A feasible point: one of the file, with missing parameters drawn uniformly, or a random one."""
        if (values := self._draw(self._space.feasible, point)) is None:
            raise SweepError(
                "constraints: must leave some point to run, but none was found among "
                f"{points.DRAWS} uniform draws; relax them or shrink the ranges"
            )
        return values

    def _draw(self, wanted: Callable[[Values], bool], point: Mapping[str, Any] | None = None) -> Values | None:
        draws = random.Random(seed_of(self._spec.seed, len(self._trials())))
        return points.find(self._space, wanted, draws, point)

    def _enqueue(self, values: Mapping[str, Any] | None, attributes: dict[str, Any] | None = None) -> bool:
        if values is not None:
            self._study.enqueue_trial(self._space.to_storage(values), attributes)
        return values is not None
