"""Seeds of training: never searched, run for the best settings or for all, derived from what the study holds."""

import json

import pytest

from platform.errors import InvalidSweep
from platform.space.check import open_sweep
from platform.study.seeds import competing, missing
from platform.study.settings import OF, SEED
from platform.study.view import grouped, is_peer
from platform.sweepfile.fields import Seeds
from tests.driver.ledgers import report, start, starts_nothing
from tests.driver.study.test_study import finish, height, level

SEEDS = "seeds={values: [0, 3, 4]}"
ALL = "seeds={values: [0, 3], best: all}"
FEW = ("parameters.part.name=plain", "parameters.width=32", "constraints=[]")


def end_one(driver, value=None):
    task = start(driver.ledger)
    report(driver.ledger, task.number, 1, height(task.values) if value is None else value)
    driver.ledger.finish(task.number, {})
    return task


def runs(driver):
    """The runs with further seeds, as (setting, seed)."""
    return [(t.user_attrs[OF], t.user_attrs[SEED]) for t in driver.study.trials() if OF in t.user_attrs]


def test_the_best_setting_runs_with_the_other_seeds_once_the_search_is_over(begin):
    driver = begin(SEEDS, "num_trials=3")
    for value in (0.2, 0.9, 0.4):
        assert end_one(driver, value).values["seed"] == 0
    assert driver.ledger.left == 2
    tasks = [end_one(driver, 0.1) for _ in range(2)]
    best = driver.study.values(driver.study.trials()[1])
    assert [task.values for task in tasks] == [{**best, "seed": 3}, {**best, "seed": 4}]
    assert [task.number for task in tasks] == [3, 4]
    assert runs(driver) == [(1, 3), (1, 4)]
    assert driver.ledger.left == 0
    assert starts_nothing(driver.ledger)
    record = json.loads((driver.folder / "trials" / "4" / "trial.json").read_text())
    assert (record["search"]["user"][OF], record["search"]["user"][SEED]) == (1, 4)
    assert [trial.number for trial in driver.study.best()] == [1]


def test_no_seed_is_due_while_a_setting_runs(begin):
    driver = begin(SEEDS, "num_trials=2")
    one, two = start(driver.ledger), start(driver.ledger)
    report(driver.ledger, one.number, 1, 0.5)
    driver.ledger.finish(one.number, {})
    assert starts_nothing(driver.ledger)
    assert driver.ledger.left == 2
    report(driver.ledger, two.number, 1, 0.6)
    driver.ledger.finish(two.number, {})
    start(driver.ledger), start(driver.ledger)
    assert runs(driver) == [(1, 3), (1, 4)]


def test_the_best_settings_of_each_cell_run_with_the_other_seeds(begin):
    driver = begin("seeds={values: [0, 3], best: 2}", "num_trials=6", "compare={by: [part.name]}")
    for _ in range(6):
        end_one(driver)
    ranked = sorted(driver.study.trials(), key=lambda trial: -trial.value)
    cells = [[t.number for t in ranked if t.params["part.name"] == name][:2] for name in ("plain", "curved")]
    while driver.ledger.left:
        end_one(driver)
    assert sorted(runs(driver)) == sorted((number, 3) for cell in cells for number in cell)


def test_a_seeds_run_is_not_judged_but_ends_where_its_objective_is_not_finite(begin):
    driver = begin("seeds={values: [0, 3, 4]}", "num_trials=4", "early_stopping={type: asha, min_reports: 1}")
    for _ in range(4):
        end_one(driver, 0.9)
    bad, broken = start(driver.ledger), start(driver.ledger)
    assert all(report(driver.ledger, bad.number, step, 0.0) for step in range(1, 9))
    assert not report(driver.ledger, broken.number, 1, float("nan"))
    assert not [name for name in driver.study.optuna.trials[bad.number].system_attrs if "rung" in name]


def test_a_failed_seed_runs_again_by_retry_and_keeps_its_attributes(begin):
    driver = begin(SEEDS, "num_trials=1")
    end_one(driver, 0.5)
    task = start(driver.ledger)
    driver.ledger.fail(task.number, "non-finite objective", "")
    end_one(driver, 0.4)
    assert begin(SEEDS, "num_trials=1").ledger.left == 0
    assert begin(SEEDS, "num_trials=1").study.retry() == [task.number]
    driver = begin(SEEDS, "num_trials=1")
    assert driver.ledger.left == 1
    assert end_one(driver, 0.6).values == task.values
    assert runs(driver) == [(0, 4), (0, 3)]


def test_seeds_may_be_added_to_a_finished_sweep_and_grow(begin):
    driver = begin("num_trials=2")
    for value in (0.3, 0.4):
        assert "seed" not in end_one(driver, value).values
    assert begin("num_trials=2").ledger.left == 0
    driver = begin("num_trials=2", "seeds={values: [0, 3]}")
    end_one(driver, 0.4)
    driver = begin("num_trials=2", SEEDS)
    assert end_one(driver, 0.4).values["seed"] == 4
    assert runs(driver) == [(1, 3), (1, 4)]
    with pytest.raises(InvalidSweep, match=r"parameters.seed: was 0, is 3"):
        begin("num_trials=2", "seeds={values: [3, 0]}")


@pytest.mark.parametrize("method", ["tpe", "cmaes", "qmc", "grid", pytest.param("gp", marks=pytest.mark.slow)])
def test_a_sampler_never_sees_a_seed_or_a_run_with_one(sweep, opened, tmp_path, method):
    step = ", step: 0.125" if method == "grid" else ""
    search = (f"method={method}", "early_stopping=none", f"parameters.x={{min: 0.0, max: 1.0{step}}}", *FEW[:1])

    def proposals(*seeds):
        here = (*search, *seeds, f"storage={tmp_path}/{len(seeds)}")
        study = opened(sweep(*here))
        for _ in range(12):
            finish(study, asked := study.ask(), level(height(asked.values)), reports=2)
            for run in study.ask_seeds(is_over=True):
                finish(study, run, level(0.0), reports=2)
        return [{**trial.params} for trial in study.trials() if is_peer(trial)]

    if method in ("tpe", "gp"):  # their draws depend on nothing but what they see
        assert proposals(SEEDS) == proposals()
    study = opened(sweep(*search, SEEDS, f"storage={tmp_path}/seen"))
    finish(study, study.ask(), level(0.5))
    (*_, run) = study.ask_seeds(is_over=True)
    assert [t.number for t in study._seen(len(study.optuna.trials), ()).get_trials()] == [0]
    assert run.of == 0
    assert all(SEED not in trial.params for trial in study.optuna.trials)


def test_with_best_all_a_setting_is_seen_at_its_mean_once_its_group_is_whole(begin):
    driver = begin(ALL, "num_trials=3", "method=tpe")
    end_one(driver, 0.5)
    seen = lambda: [(t.number, t.values) for t in grouped(driver.study.optuna.trials, driver.study.spec.seeds)]  # noqa: E731
    assert seen() == []
    assert end_one(driver, 0.7).values["seed"] == 3
    assert seen() == [(0, [pytest.approx(0.6)])]
    assert driver.study.optuna.trials[0].values == [0.5]
    assert end_one(driver, 0.9).values["seed"] == 0
    task = start(driver.ledger)
    driver.ledger.fail(task.number, "non-finite objective", "")
    assert [number for number, _ in seen()] == [0]
    assert [trial.number for trial in driver.study.best()] == [0]


def test_the_winner_is_chosen_by_the_seeds_that_the_rule_names():
    groups = {"a": {0: 0.9, 1: 0.1, 2: 0.2}, "b": {0: 0.8, 1: 0.6, 2: 0.7}, "c": {0: 0.1}, "d": {1: 1.0}}
    rule = lambda best: Seeds(values=(0, 1, 2), best=best)  # noqa: E731
    assert competing(rule(1), groups, 1)[0] == "a"
    assert competing(rule(1), groups, -1)[0] == "c"
    assert competing(rule(2), groups, 1) == ["b", "a"]
    assert competing(rule(None), groups, 1) == ["b", "a"]
    assert missing(rule(1), [], lambda trial: (), 1) == []


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["seeds={values: [0, 1, 0]}"], "seeds.values: must list each seed once, but got 0 2 times; remove one"),
        ([SEEDS, "parameters.seed=1"], "parameters.seed: must be left to seeds.values, but got both; remove it here"),
        ([SEEDS, "early_stopping=none", "metric=[{name: valid/ndcg_10, goal: maximize}, "
          "{name: valid/hr_10, goal: maximize}]"], "seeds: must choose settings by one metric, but got 2; keep one"),
        (["parameters.seed={values: [0, 1]}"], "parameters.seed: must be searched by a grid without early stopping "
          "only, as a search would find a lucky one, but got tpe with asha; write seeds: {values: [0, 1, 2]}"),
        (["method=grid", "parameters.x=0.5", "parameters.seed={min: 0, max: 4}"], "but got grid with asha; write"),
        (["seeds={values: [0], best: most}"], "seeds.best"),
        (["seeds={values: []}"], "seeds.values"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_seeds_is_told(curve_file, overrides, problem):
    with pytest.raises(InvalidSweep) as caught:
        open_sweep(curve_file, overrides)
    assert [text for text in caught.value.problems if problem in text], caught.value.problems
