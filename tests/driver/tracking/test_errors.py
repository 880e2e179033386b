"""A user's message for an error of the store: no answer where that is the cause, else the error itself."""

import importlib
import shutil
import sqlite3

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from platform.tracking import errors
from platform.tracking.messages import ParentEnd


def refused(here, uri: str) -> str:
    """The message for a sweep that the store at `uri` refuses."""
    shipper = here.started(uri=uri)
    shipper.changed(here.trial(0))
    assert not shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)
    (said,) = here.said
    start, end = f"MLflow at {uri} refuses (", "; the sweep goes on and ships later"
    assert said.startswith(start)
    assert said.endswith(end)
    return said.removeprefix(start).removesuffix(end)


PAGE = b"<html>\n<h1>no</h1>\n</html>\n"


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_is_told_with_the_variables_to_set(tracked, server, status):
    said = refused(tracked(), server(status, PAGE))
    assert f"failed with error code {status}" in said
    assert said.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of a user who may write")
    assert "\n" not in said


def test_a_proxy_whose_server_is_gone_does_not_answer(tracked, server):
    here, uri = tracked(), server(503, PAGE)
    shipper = here.started(uri=uri)
    assert not shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)
    assert here.said == [f"MLflow at {uri} does not answer; the sweep goes on and ships later"]


def test_a_database_of_another_version_is_told_with_mlflows_own_remedy(tracked, database, tmp_path):
    MlflowClient(database).get_experiment("0")  # makes it
    path = tmp_path / "older.db"
    shutil.copyfile(database.removeprefix("sqlite:///"), path)
    with sqlite3.connect(path) as older:
        older.execute("UPDATE alembic_version SET version_num = '0a'")
    said = refused(tracked(), f"sqlite:///{path}")
    assert said.startswith("Detected out-of-date database schema (found version 0a, but expected ")
    assert "mlflow db upgrade" in said


def test_a_package_that_is_missing_is_named():
    with pytest.raises(ImportError) as missing:
        importlib.import_module("no_such_package")
    said = errors.user_message(missing.value)
    assert said == "refuses (No module named 'no_such_package'); install the project again, with what it needs"


def test_an_error_of_our_own_is_told_by_its_first_line_and_no_secret(monkeypatch):
    monkeypatch.setenv("HUB_TOKEN", "hf_0123456789")
    said = errors.user_message(TypeError("no hf_0123456789 here\nnor there"))
    assert said == "refuses (no *** here); fix the cause, sweep.log has the details"
    assert errors.user_message(TypeError()).startswith("refuses (TypeError); ")


def test_a_locked_file_is_silent_and_one_that_lacks_a_table_is_not(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/own.db", connect_args={"timeout": 0})
    lock = sqlite3.connect(tmp_path / "own.db", isolation_level=None)
    lock.execute("CREATE TABLE metrics (value)")
    with engine.connect() as connection, pytest.raises(OperationalError, match="no such table") as lacking:
        connection.execute(text("SELECT * FROM runs"))
    lock.execute("BEGIN EXCLUSIVE")
    with engine.connect() as connection, pytest.raises(OperationalError, match="locked") as locked:
        connection.execute(text("SELECT * FROM metrics"))
    lock.close()
    assert errors.is_unavailable(locked.value)
    assert not errors.is_unavailable(lacking.value)
