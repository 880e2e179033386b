"""A sweep run again under the same name: what may differ from the first run, and what is refused."""

import json

import pytest

from platform.errors import InvalidSweep
from platform.study.identity import refuse_changed
from platform.study.opening import IDENTITY


def test_another_space_under_the_same_name_is_refused_with_what_differs_and_the_remedy(sweep, opened):
    opened(sweep())
    changed = sweep("parameters.x={min: 0.0, max: 0.5}", "parameters.steps=3")
    with pytest.raises(InvalidSweep) as refused:
        opened(changed)
    assert len(refused.value.problems) == 2
    ends, steps = sorted(refused.value.problems, key=lambda text: "steps" in text)
    assert (
        "name: a sweep must keep its space and search, but 'curve' has trials of another (space.parameters.x." in ends
    )
    assert "was 1.0, is 0.5)" in ends
    assert "space.parameters.steps" in steps
    assert "was null" in steps
    assert all(text.endswith("run this one under its own name: --set name=...") for text in (ends, steps))


def test_another_metric_or_trainable_under_the_same_name_is_refused(sweep, opened):
    opened(sweep())
    with pytest.raises(InvalidSweep, match=r'metrics: was \[\["valid/ndcg_10", "maximize"\]\], is \[\["valid/hr_10'):
        opened(sweep("metric={name: valid/hr_10, goal: maximize}"))


OF_EVERY_KEY = """\
{"early_stopping": {"min_reports": 2, "patience": 5, "percentile": 25.0, "reduction_factor": 3, "type": "asha"}, \
"method": "tpe", "metrics": [["valid/ndcg_10", "maximize"]], "seed": 0, "space": {"constraints": ["x <= 0.95"], \
"parameters": {"part.name": {"values": ["plain", "curved"], "when": {"curved": {"part.bend": {"log": false, "max": 5, \
"min": 1, "step": 1}}}}, "width": {"values": [16, 32, 64]}, \
"x": {"log": false, "max": 1.0, "min": 0.0, "step": null}}}, "trainable": "tests.trainables.curve"}"""
"""The identity that studies of `sweep()` got before each early stopping had keys of its own."""


def of_every_key(**settings):
    """The same with other settings of early stopping."""
    stored = json.loads(OF_EVERY_KEY)
    return json.dumps(stored | {"early_stopping": stored["early_stopping"] | {"min_reports": 1} | settings})


def test_a_study_from_before_early_stoppings_had_keys_of_their_own_opens(sweep, opened):
    study = opened(sweep())
    study.optuna.set_user_attr(IDENTITY, OF_EVERY_KEY)
    assert opened(sweep()).id == study.id


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median", "percentile", "patient", "none"])
def test_every_early_stopping_that_such_a_study_has_is_the_same_today(sweep, kind):
    here = sweep(f"early_stopping={kind}")
    refuse_changed(of_every_key(type=kind), here.spec, here.space)


def test_another_early_stopping_is_refused_key_by_key(sweep):
    here = sweep("early_stopping={type: asha, min_reports: 1, reduction_factor: 4}")
    with pytest.raises(InvalidSweep) as refused:
        refuse_changed(of_every_key(type="patient", patience=2), here.spec, here.space)
    factor, kind = refused.value.problems
    assert "(early_stopping.reduction_factor: was 3, is 4)" in factor
    assert '(early_stopping.type: was "patient", is "asha")' in kind


def test_a_key_that_an_early_stopping_got_later_had_its_default_in_older_studies(sweep):
    same, other = (sweep(f"early_stopping={{type: asha, min_reports: 2, reduction_factor: {n}}}") for n in (3, 4))
    stored = json.loads(OF_EVERY_KEY) | {"early_stopping": {"type": "asha", "min_reports": 2}}
    refuse_changed(json.dumps(stored), same.spec, same.space)
    with pytest.raises(InvalidSweep, match=r"early_stopping.reduction_factor: was 3, is 4"):
        refuse_changed(json.dumps(stored), other.spec, other.space)


def test_what_may_change_between_runs_is_taken(sweep, opened):
    opened(sweep())
    again = opened(sweep("num_trials=9", "limits.max_hours=1", "resources.cpu=2", "max_concurrent_trials=1"))
    assert again.spec.num_trials == 9


def test_a_study_keeps_its_id_and_no_other_of_its_name_has_it(sweep, opened, tmp_path):
    first = opened(sweep())
    assert first.id == opened(sweep()).id
    other = opened(sweep(f"storage={tmp_path / 'elsewhere'}"))
    assert other.id != first.id


def test_a_study_from_before_there_were_ids_gets_one_and_keeps_it(sweep, opened):
    here = sweep()
    opened(here)
    journal = here.folder / "study.journal"
    lines = journal.read_text().splitlines(keepends=True)
    older = [line for line in lines if '"user_attr":{"id":' not in line.replace(" ", "")]
    assert len(older) == len(lines) - 1
    journal.write_text("".join(older))
    assert opened(here).id == opened(here).id
