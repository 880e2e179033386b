"""Trials of earlier sweeps in a new study: the same proposals, what does not fit, kills in the middle."""

import json
import shutil
from collections import Counter
from collections.abc import Callable

import pytest

from platform.errors import InvalidSweep
from platform.runners.ledger import Ledger
from platform.study import adopt
from platform.study.existing import refuse_another
from platform.study.opening import END
from platform.study.settings import FROM, SAME_AS, STARTED
from platform.study.study import Study
from tests.driver.ledgers import report, start
from tests.driver.study.test_study import METHODS, finish, height, peaked
from trainables.storage import mirror
from trainables.storage.objects import Bucket

STEPS = "parameters.x={min: 0.0, max: 1.0, step: 0.125}"
SMALL = ("name=small", "num_trials=12", "method=random")
GROWN = ("name=grown", "warm_start=[small]", "parameters.x={min: 0.0, max: 1.0}")
TAGS = {"data.fingerprint": "f00", "data.rows": "r00"}


@pytest.fixture
def ran(sweep) -> Callable[..., Ledger]:
    """Call with overrides to run the sweep `small` to its end, as a driver does; some trials are stopped early."""

    def run(*overrides: str) -> Ledger:
        here = sweep(*SMALL, "parameters.x={min: 0.0, max: 0.75}", *overrides)
        study = Study(here.spec, here.space, here.folder)
        (here.folder / "sweep.yaml").write_text(here.spec.text)
        ledger = Ledger(here.spec, study, here.folder, here.folder.parent / "stages")
        while (task := ledger.next_task(cpus=1.0, gpus=0.0)) is not None:
            curve = peaked(height(task.values))
            if all(report(ledger, task.number, step, curve(step)) for step in range(1, 7)):
                ledger.report(task.number, 7, {"test/ndcg_10": 0.25})
                ledger.finish(task.number, {})
            write_tags(here.folder, task.number, TAGS)
        return ledger

    return run


@pytest.fixture
def grow(sweep) -> Callable[..., tuple[Study, list[str]]]:
    """Call with overrides for the study of the sweep `grown`, as a new driver opens it, and what it told."""

    def grow(*overrides: str) -> tuple[Study, list[str]]:
        here, said = sweep(*GROWN, *overrides), list[str]()
        return Study(here.spec, here.space, here.folder, said.append), said

    return grow


def write_tags(folder, number, tags):
    (folder / "trials" / str(number) / "tags.json").write_text(json.dumps(tags))


def known(study):
    return [trial.user_attrs[FROM] for trial in study.optuna.get_trials() if FROM in trial.user_attrs]


def table(study):
    return [
        (t.number, t.state, t.values, t.params, t.intermediate_values, t.system_attrs)
        for t in study.optuna.get_trials()
    ]


def test_trials_that_fit_are_known_with_curves_and_rungs_outside_the_budget(ran, grow):
    old = ran().study
    study, said = grow()
    assert said == ["warm_start: small: 12 trials are known to the search"]
    assert known(study) == [f"small/{number}" for number in range(12)]
    assert {state.name for _, state, *_ in table(study)} == {"COMPLETE", "PRUNED"}
    assert table(study) == table(old)
    assert (study.trials(), study.ended()) == ([], [])
    assert [trial.user_attrs[FROM] for trial in study.best()] == [f"small/{old.best()[0].number}"]
    assert grow()[1] == said  # the next driver adds nothing
    assert table(study) == table(old)


@pytest.mark.parametrize("method", METHODS)
def test_proposals_equal_those_of_a_study_that_ran_the_same_trials(ran, grow, sweep, method):
    ran(*(("method=grid", STEPS) if method == "grid" else ()))
    overrides = (f"method={method}", *((STEPS,) if method == "grid" else ()))
    warm, _ = grow(*overrides)
    here = sweep(*GROWN, *overrides, "name=own", "warm_start=[]")
    own = Study(here.spec, here.space, here.folder)
    for trial in warm.optuna.get_trials():
        trial.user_attrs = {STARTED: 1.0, END: trial.user_attrs[END]}
        own.optuna.add_trial(trial)
    own, (warm, _) = Study(here.spec, here.space, here.folder), grow(*overrides)
    assert (len(own.trials()), len(warm.trials())) == (12, 0)
    for _ in range(2):
        one, other = warm.ask(), own.ask()
        assert one is not None and other is not None  # noqa: PT018
        assert (one.number, one.values) == (other.number, other.values)
        for study in (warm, own):
            finish(study, one, peaked(0.9 * height(one.values)))
        assert table(warm)[-1] == table(own)[-1]  # stopped at the same rung, or complete


def test_a_setting_that_an_earlier_sweep_ran_is_not_run_again(ran, grow):
    old = ran("method=grid", STEPS).study
    study, _ = grow(STEPS, "method=random")
    study.optuna.enqueue_trial(old.optuna.get_trials()[3].params)
    assert study.ask().number == 13
    assert study.optuna.get_trials()[12].user_attrs[SAME_AS] == 3
    here = [study.space.setting(study.values(trial)) for trial in old.optuna.get_trials()]
    assert not {study.space.setting(point) for point in study.grid_left()} & set(here)


def test_a_genetic_algorithm_breeds_from_trials_of_an_earlier_sweep(grow, sweep, write_trial):
    here = sweep(*SMALL)
    (here.folder / "sweep.yaml").write_text(here.spec.text)
    for number in range(12):
        values, both = {"x": number / 20}, {"valid/ndcg_10": number / 12, "valid/hr_10": 0.5 - number / 24}
        write_trial(here.folder, number, values | {"width": 16, "part.name": "plain"}, [], both)
    metrics = "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: maximize}]"
    study, _ = grow("early_stopping=none", "method=nsga2", "population=12", metrics)
    assert len(study.best()) == 12
    study.ask()
    assert study.optuna.get_trials()[12].system_attrs["NSGAIISampler:generation"] == 1


@pytest.mark.parametrize(("trials", "is_known"), [(20, True), (19, False)])
def test_cmaes_begins_where_an_earlier_sweep_was_best_if_its_trials_are_enough(
    ran, grow, monkeypatch, trials, is_known
):
    """Optuna's private `_source_trials` is set: `optuna==5.0.*` is pinned for it."""
    ran(f"num_trials={trials}")
    known, _ = grow("method=cmaes")
    (best,) = known.best()
    with monkeypatch.context() as patch:
        patch.setattr("platform.study.warm_start.SOURCE", "other")
        unknown, _ = grow("method=cmaes", "name=unknown")
    one, other = ([study.ask().values["x"] for _ in range(6)] for study in (known, unknown))
    assert (one != other) is is_known
    if is_known:
        assert max(abs(x - best.params["x"]) for x in one) < max(abs(x - best.params["x"]) for x in other)


def test_trials_in_a_bucket_are_read_from_it_and_their_copies_lie_in_it(grow, sweep, write_trial, bucket, tmp_path):
    place = (f"storage={bucket}/runs", f"study=sqlite:///{tmp_path}/study.db")
    here = sweep(*SMALL, *place)
    (here.folder / "sweep.yaml").write_text(here.spec.text)
    values = {"x": 0.5, "width": 16, "part.name": "plain"}
    folder = write_trial(here.folder, 3, values, [0.5], ranks=[1, 2])
    mirror.push(here.folder / "sweep.yaml", folder / "tags.json", folder / "artifacts" / "ranks.npy")
    mirror.delete_local(here.folder)
    study, said = grow(*place)
    assert said == ["warm_start: small: 1 trial is known to the search"]
    assert known(study) == ["small/3"]
    store = Bucket(bucket.removeprefix("s3://"))
    copies = {found.key.removeprefix("runs/grown/") for found in store.list("runs/grown/earlier/")}
    names = ("artifacts/ranks.npy", "end.json", "journal/000000.jsonl", "tags.json", "trial.json")
    assert copies == {f"earlier/small/trials/3/{name}" for name in names}


def test_settings_of_an_earlier_sweep_count_for_their_cell(ran, grow):
    ran()
    study, _ = grow("compare={by: [part.name]}", "early_stopping=none")
    begun = Counter(study.values(trial)["part.name"] for trial in study.earlier())
    (_, most), (fewer, least) = begun.most_common()
    assert most > least
    for _ in range(most - least):
        asked = study.ask()
        assert asked.values["part.name"] == fewer
        finish(study, asked, peaked(0.5))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["parameters.x={min: 0.0, max: 0.01}"], "x not between 0.0 and 0.01"),
        (["parameters.steps=3"], "steps: was 6, is 3"),
        (["parameters.width={values: [8]}"], "width not one of 8"),
        (["constraints=['x <= 0 and width == 16']"], "breaks 'x <= 0 and width == 16'"),
        (["metric={name: valid/hr_10, goal: maximize}"], "valid/hr_10 not reported"),
        (
            ["trainable=tests.trainables.wide", "parameters={x: {min: 0.0, max: 1.0}}", "constraints=[]"],
            "trainable: was tests.trainables.curve, is tests.trainables.wide",
        ),
    ],
)
def test_what_does_not_fit_is_left_out_by_name(ran, grow, change, reason):
    ran()
    study, said = grow(*change)
    assert known(study) == []
    every = ", ".join(map(str, range(12)))
    assert said == [
        "warm_start: small: 0 trials are known to the search",
        f"warm_start: small: 12 trials ({every}) left out: {reason}",
    ]


def test_trials_of_other_data_are_left_out_and_this_sweeps_own_data_counts_most(ran, grow, sweep):
    old = ran()
    for number in range(3):
        write_tags(sweep(*SMALL).folder, number, {"data.fingerprint": "e00"})
    study, said = grow()
    assert said[1:] == ["warm_start: small: 3 trials (0, 1, 2) left out: data.fingerprint: was e00, is f00"]
    assert known(study) == [f"small/{number}" for number in range(3, 12)]
    here = sweep("name=other", "warm_start=[]")
    ledger = Ledger(here.spec, Study(here.spec, here.space, here.folder), here.folder, here.folder)
    write_tags(here.folder, start(ledger).number, {"data.fingerprint": "e00"})
    study, said = grow("name=other", "parameters.x={min: 0.0, max: 1.0}")
    assert known(study) == ["small/0", "small/1", "small/2"]
    assert "left out: data.fingerprint: was f00, is e00" in said[1]
    assert old.study.trials()[0].user_attrs.keys() >= {STARTED}  # the earlier sweep is as it was


def test_names_may_be_added_later_and_a_lost_earlier_sweep_is_still_known(ran, grow, sweep):
    ran()
    study, _ = grow("warm_start=[]")
    finish(study, study.ask(), peaked(0.5))
    study, _ = grow()
    assert [trial.number for trial in study.earlier()] == list(range(1, 13))
    assert study.ask().number > 12
    shutil.rmtree(sweep(*SMALL).folder)
    study, said = grow()
    assert said == ["warm_start: small: 12 trials are known to the search"]
    with pytest.raises(InvalidSweep, match=r"warm_start\[1\]: must be a sweep with trials in .*, but 'tiny' has none"):
        grow("warm_start=[small, tiny]")


def test_the_check_refuses_a_name_without_trials_and_writes_nothing(sweep):
    here = sweep(*GROWN)
    with pytest.raises(InvalidSweep, match=r"'small' has none there; correct the name, or remove it"):
        refuse_another(here.spec, here.space, here.folder)
    assert list(here.folder.iterdir()) == []


def test_a_sweep_names_each_earlier_one_once_and_not_itself(sweep):
    with pytest.raises(InvalidSweep) as refused:
        sweep("name=small", "warm_start=[tiny, small, tiny]")
    rule = "must name each earlier sweep once, but got"
    assert [problem.partition(f" {rule} ")[2] for problem in refused.value.problems] == [
        "this sweep's own name; remove it",
        "'tiny' again; remove it",
    ]


def test_an_adopted_study_knows_them_again(ran, grow, sweep):
    ran()
    grow()
    here = sweep(*GROWN)
    ledger = Ledger(here.spec, Study(here.spec, here.space, here.folder), here.folder, here.folder)
    start(ledger)
    before = table(ledger.study)
    (here.folder / "study.journal").unlink()
    shutil.rmtree(sweep(*SMALL).folder)
    assert str(adopt.adopt(here.spec, here.space, here.folder, print)).endswith("0 have ended, 1 go on")
    assert [line[:5] for line in table(Study(here.spec, here.space, here.folder))] == [line[:5] for line in before]


@pytest.mark.parametrize("where", [3, 7])
@pytest.mark.parametrize("step", ["copy", "add"])
def test_a_kill_in_the_middle_of_reading_leaves_nothing_double(ran, grow, sweep, monkeypatch, where, step):
    ran()
    whole, said = grow("name=whole")
    count = 0

    def kill(call):
        def killed(*arguments, **named):
            nonlocal count
            count += 1
            if count == where:
                raise KeyboardInterrupt
            return call(*arguments, **named)

        return killed

    with monkeypatch.context() as patch:
        if step == "copy":
            patch.setattr(shutil, "copy", kill(shutil.copy))
        else:
            patch.setattr("optuna.Study.add_trial", kill(type(whole.optuna).add_trial))
        with pytest.raises(KeyboardInterrupt):
            grow()
    resumed, again = grow()
    assert again == said
    assert table(resumed) == table(whole)
    assert known(resumed) == known(whole)
    one, other = resumed.ask(), whole.ask()
    assert (one.number, one.values) == (other.number, other.values)
    copies = [sorted(str(p.relative_to(f)) for f in [sweep(*GROWN, n).folder] for p in f.rglob("earlier/**/*"))
              for n in ("name=grown", "name=whole")]  # fmt: skip
    assert copies[0] == copies[1]
