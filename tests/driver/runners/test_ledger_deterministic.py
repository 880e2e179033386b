"""`deterministic: true`: the same trials and ends, whichever worker is quicker, wherever driver or study are lost."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from platform.runners.ledger import Ledger
from platform.study.adopt import adopt
from platform.study.settings import SAME_AS
from tests.driver.ledgers import goes_on

BATCH = 3
STEPS = 9
ASHA = "early_stopping={type: asha, min_reports: 1, reduction_factor: 2}"
HYPERBAND = "early_stopping={type: hyperband, min_reports: 1, reduction_factor: 2}"
MEDIAN = "early_stopping={type: median, min_reports: 2}"


def curve(values: dict[str, Any], step: int) -> float:
    top = 1 - (values["x"] - 0.7) ** 2 - ((values["width"] - 32) / 100) ** 2
    noise = 0.1 * math.sin(40 * values["x"] + step + values.get("seed", 0))
    return top * step / (step + values.get("part.bend", 1)) + noise


def metrics(values: dict[str, Any], step: int) -> dict[str, float]:
    return {"valid/ndcg_10": curve(values, step), "valid/hr_10": (1 - values["x"]) / values["width"]}


def lose_the_study(driver: Any) -> None:
    """Delete a study that has begun trials, and rebuild it from their files."""
    if list(driver.folder.glob("trials/*/trial.json")):
        (driver.folder / "study.journal").unlink()
        adopt(driver.study.spec, driver.study.space, driver.folder, lambda text: None)


class Workers:
    """Two workers over one ledger, which take turns by chance."""

    def __init__(
        self,
        begin: Callable[..., Any],
        chance: random.Random,
        deaths: float,
        overrides: tuple[str, ...],
        at_death: Callable[[Any], None] = lambda driver: None,
    ):
        self._begin, self._chance, self._deaths, self._overrides = begin, chance, deaths, overrides
        self._at_death = at_death
        self._done: dict[int, int] = {}
        self.broken: set[int] = set()
        """Trials that fail at their first report."""

    def run(self) -> dict[int, tuple[Any, ...]]:
        """The trials as the study has them when nothing is left."""
        here = self._begin(*self._overrides)
        tasks: dict[int, Any] = {}
        while here.ledger.left or here.ledger.running:
            if self._chance.random() < self._deaths:
                self._at_death(here)
                here, tasks = self._begin(*self._overrides), {}
            elif len(tasks) < 2 and (task := here.ledger.next_task(cpus=1.0, gpus=0.0)):
                tasks[task.number] = task.values
            elif tasks:
                self._advance(here.ledger, tasks, self._chance.choice(sorted(tasks)))
        return {
            trial.number: (here.study.values(trial), trial.state.name, trial.values, trial.intermediate_values)
            for trial in here.study.trials()
        }

    def _advance(self, ledger: Ledger, tasks: dict[int, Any], number: int) -> None:
        step = self._done.get(number, 0) + 1
        if number in self.broken:
            ledger.fail(number, "non-finite objective", "")
            del tasks[number]
            return
        if step > STEPS:
            ledger.finish(number, {})
        elif goes_on(ledger, number, step, metrics(tasks[number], step)):
            if self._chance.random() < 0.7:  # else a death now repeats the step
                self._done[number] = step
            return
        del tasks[number]


def overrides(method: str, stopping: str, trials: int) -> tuple[str, ...]:
    batch: tuple[str, ...] = ("deterministic=true", f"max_concurrent_trials={BATCH}", f"num_trials={trials}")
    if method == "nsga2":
        batch = (*batch, "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: maximize}]")
    if method == "grid":
        batch = (*batch, "parameters.x={min: 0.0, max: 0.9, step: 0.3}")
    return (f"method={method}", stopping, *batch, "constraints=['x <= 0.9']", "initial_points=[{x: 0.3}, {x: 0.6}]")


@pytest.mark.parametrize(
    ("method", "stopping", "trials"),
    [
        ("tpe", ASHA, 7),
        *[
            pytest.param(method, stopping, trials, marks=pytest.mark.slow)
            for method, stopping, trials in (
                ("tpe", HYPERBAND, 14),
                ("tpe", MEDIAN, 14),
                ("cmaes", "early_stopping=none", 14),
                ("gp", ASHA, 14),
                ("qmc", ASHA, 14),
                ("grid", ASHA, 14),
                ("nsga2", "early_stopping=none", 62),  # a generation is 50
            )
        ],
    ],
)
def test_neither_timing_nor_deaths_change_a_trial(begin, tmp_path, method, stopping, trials):
    def run(seed: int, deaths: float, at_death: Any = lambda driver: None) -> dict[int, tuple[Any, ...]]:
        settings = (*overrides(method, stopping, trials), f"storage={tmp_path}/{seed}")
        return Workers(begin, random.Random(seed), deaths, settings, at_death).run()

    undisturbed = run(0, 0.0)
    assert len(undisturbed) == trials
    assert stopping.endswith("none") or {state for _, state, *_ in undisturbed.values()} == {"COMPLETE", "PRUNED"}
    assert run(1, 0.1) == undisturbed
    if method != "cmaes":  # its generations stand in the study only
        assert run(2, 0.05, lose_the_study) == undisturbed


@pytest.mark.parametrize("best", ["all", pytest.param("2", marks=pytest.mark.slow)])
def test_neither_timing_nor_deaths_repeat_or_change_a_run_with_another_seed(begin, tmp_path, best):
    def run(seed: int, deaths: float, *more: str, at_death: Any = lambda driver: None) -> dict[int, tuple[Any, ...]]:
        seeds = (f"seeds={{values: [0, 1, 2], best: {best}}}", *overrides("tpe", ASHA, 7))
        settings = (*seeds, f"storage={tmp_path}/{seed}", *more)
        return Workers(begin, random.Random(seed), deaths, settings, at_death).run()

    undisturbed = run(0, 0.0)
    complete = sum(state == "COMPLETE" for values, state, *_ in undisturbed.values() if values["seed"] == 0)
    runs = 2 * (complete if best == "all" else 2)
    assert len(undisturbed) == 7 + runs
    assert run(1, 0.1) == undisturbed
    assert run(2, 0.05, at_death=lose_the_study) == undisturbed
    found = run(3, 0.2, "deterministic=false").values()
    settings = [json.dumps({**values, "seed": 0}) for values, *_ in found if values["seed"]]
    assert all(count == 2 for count in Counter(settings).values())
    assert len(found) == 7 + len(settings)


FEW = ("parameters.x={min: 0.0, max: 0.9, step: 0.3}", "parameters.part.name=plain", "constraints=['width != 64']")
"""Eight settings, of which a search proposes some again."""


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_deaths_change_nothing_where_settings_repeat_and_failed_ones_are_retried(begin, tmp_path, method):
    def run(seed: int, deaths: float) -> tuple[dict[int, tuple[Any, ...]], int]:
        search = (*overrides(method, ASHA, 14), *FEW, "initial_points=[]", f"storage={tmp_path}/{seed}")
        workers = Workers(begin, random.Random(seed), deaths, search)
        workers.broken = {1, 4}
        workers.run()
        workers.broken = set()
        assert begin(*search).study.retry() == [1, 4]
        found = workers.run()
        every = begin(*search).study.optuna.get_trials()
        return found, sum(SAME_AS in trial.user_attrs for trial in every)

    undisturbed, repeats = run(0, 0.0)
    assert len(undisturbed) == 8
    assert repeats > 0
    assert run(1, 0.1) == (undisturbed, repeats)


def test_a_batch_is_asked_for_when_every_trial_of_the_one_before_has_ended(begin):
    here = begin("deterministic=true", "max_concurrent_trials=2", "num_trials=5")
    start = lambda: here.ledger.next_task(cpus=1.0, gpus=0.0)  # noqa: E731
    assert [start().number, start().number, start()] == [0, 1, None]
    here.ledger.report(1, 1, {"valid/ndcg_10": 0.5})
    here.ledger.finish(1, {})
    assert start() is None
    assert here.ledger.left == 3
    here.ledger.report(0, 1, {"valid/ndcg_10": 0.5})
    here.ledger.finish(0, {})
    assert [start().number, start().number] == [2, 3]


def test_a_batch_that_a_death_cut_short_is_filled_up_before_it_is_started(begin):
    deterministic = ("deterministic=true", "max_concurrent_trials=3", "method=random")
    whole = begin(*deterministic, "name=whole")
    expected = [whole.ledger.next_task(cpus=1.0, gpus=0.0).values for _ in range(3)]
    first = begin(*deterministic)
    first.study.ask()  # the driver dies here
    here = begin(*deterministic)
    assert [here.ledger.next_task(cpus=1.0, gpus=0.0).values for _ in range(3)] == expected


def test_another_size_of_batch_is_another_sweep(begin):
    from platform.errors import InvalidSweep

    begin("deterministic=true", "max_concurrent_trials=2")
    with pytest.raises(InvalidSweep, match=r'\(deterministic: was "in batches of 2", is "in batches of 3"\)'):
        begin("deterministic=true", "max_concurrent_trials=3")
