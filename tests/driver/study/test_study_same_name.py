"""A sweep run again under the same name: what may differ from the first run, and what is refused."""

import pytest

from platform.errors import InvalidSweep


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
