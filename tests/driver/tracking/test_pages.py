"""The addresses of MLflow's pages on a sweep, and the view that they open with."""

import json
from urllib.parse import parse_qs

from platform.tracking import pages
from platform.tracking.destination import Destination

SERVER = "http://user:word@tracking:5000/"
HERE = pages.Pages(to="sqlite:///runs/mlflow.db", experiment="3", sweep_id="0123456789ab")


def test_a_table_is_opened_by_a_view_and_a_trial_by_a_filter_on_this_machine_or_the_server():
    runs = "/#/experiments/3/runs?"
    assert HERE.table == f"http://127.0.0.1:5000{runs}viewStateShareKey=01234567"
    start, _, query = HERE.trial(7).partition(runs)
    assert start == "http://127.0.0.1:5000"
    assert parse_qs(query) == {
        "workflowType": ["machine_learning"],
        "searchFilter": ["tags.sweep.id = '0123456789ab' AND tags.sweep.trial = '7'"],
        "orderByKey": ["metrics.`trial/reports`"],
    }


def test_pages_are_kept_in_the_folder_for_the_store_and_the_sweep_that_they_are_of(tmp_path):
    to = Destination(SERVER, "spectran", tmp_path)
    there = pages.Pages(to=str(to), experiment="1", sweep_id="0123")
    assert pages.read(tmp_path, to) is None
    there.write(tmp_path)
    assert pages.read(tmp_path, to) == pages.read(tmp_path, to, "0123") == there
    assert there.table.startswith("http://tracking:5000/#/experiments/1/")
    assert pages.read(tmp_path, to, "another") is None
    assert pages.read(tmp_path, Destination("http://elsewhere", "spectran", tmp_path)) is None
    (tmp_path / "mlflow.json").write_text('{"to": 1}')
    assert pages.read(tmp_path, to) is None


def test_a_view_shows_objective_test_value_and_swept_parameters_with_the_best_run_first():
    tags = {"sweep.metric": "valid/ndcg_20", "sweep.goal": "maximize", "sweep.swept": "fit.dropout, adapter.name"}
    assert json.loads(pages.view("0123", tags)) == {
        "searchFilter": "tags.sweep.id = '0123'",
        "orderByKey": "metrics.`valid/ndcg_20`",
        "orderByAsc": False,
        "selectedColumns": ["metrics.`valid/ndcg_20`", "metrics.`test/ndcg_20`", "params.`fit.dropout`",
                            "params.`adapter.name`", "tags.`trial.state`"],
    }  # fmt: skip
    assert json.loads(pages.view("0123", tags | {"sweep.goal": "minimize"}))["orderByAsc"] is True
    assert json.loads(pages.view("0123", {}))["selectedColumns"] == ["tags.`trial.state`"]


def test_a_description_names_the_best_trial_its_setting_and_the_table():
    text = pages.description("7", {"best/valid/ndcg_20": 0.15471}, {"fit.dropout": 0.5}, HERE)
    assert text.startswith("Best: trial 7\n\n- `best/valid/ndcg_20`: 0.1547\n\nSetting:\n\n- `fit.dropout`: `0.5`\n\n")
    assert "[All trials as a table](#/experiments/3/runs?viewStateShareKey=01234567)" in text
    assert "as a table" not in pages.description("7", {}, {}, None)
