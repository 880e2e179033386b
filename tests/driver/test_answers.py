"""What an error of the store means: that it does not answer, or something else."""

import sqlite3

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from platform import answers


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
    assert answers.is_silent(locked.value)
    assert not answers.is_silent(lacking.value)
