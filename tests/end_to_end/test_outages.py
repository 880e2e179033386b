"""The MLflow server (on PostgreSQL) goes away in the middle of a sweep: all is there in the end, and once."""

from typing import Any

import pytest

from tests.outages import Outage, differences, gaps, play, servers


@pytest.mark.slow
def test_a_sweep_through_two_outages_loses_nothing_and_sends_nothing_twice(server_folder):
    binaries, folder = server_folder
    with servers(binaries, folder) as (database, mlflow, url):
        outages = [
            Outage("the server is frozen", mlflow.freeze, mlflow.thaw),
            Outage("the database is killed", database.kill, database.begin),
        ]
        how: dict[str, Any] = {"trials": 3, "steps": 30, "sleep": 0.3, "arguments": ("--address", "inline")}
        played = play(folder, mlflow.uri, outages, seconds=6, pause=3, **how)
        assert differences(played, url) == []
    assert len(played.spans) == 2
    inside, outside = gaps(played, 0.3)
    assert len(inside) + len(outside) == 3 * 29
    assert len(inside) > 20
    assert any("does not answer" in line for line in played.said)
