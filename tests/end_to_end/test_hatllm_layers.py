"""The sweep over HatLLM's layers: other splits of the layers give other metrics, the same ones the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

SHORT = {
    "method": "grid",
    "num_trials": "2",
    "initial_points": "[]",
    "parameters.method.shallow_layers": "{values: [1, 5]}",
    "parameters.method.deep_layers": "1",
    "parameters.fit.learning_rate": "5e-3",
    "parameters.fit.steps": "4",
    "parameters.fit.evaluate_every": "2",
    "parameters.llm.pretrain_steps": "3",
    "parameters.data.eval_rows": "20",
    "parameters.fit.batch_size": "8",
    "parameters.sasrec.epochs": "1",
    "parameters.diagnostics.rows": "4",
}


@pytest.mark.slow
def test_other_splits_differ_under_one_seed_equal_ones_are_equal_and_mlflow_shows_them(tmp_path):
    import mlflow

    environment = {**os.environ, "SWEEP_STORAGE": str(tmp_path)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    found: dict[int, dict[str, Any]] = {}
    for name in ("first", "second"):
        words = [word for key, value in {"name": name, **SHORT}.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "platform.sweep", "sweeps/hatllm_layers.yaml", "--address", "inline", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
        (experiment,) = [e for e in client.search_experiments() if e.name == "hatllm"]
        runs = client.search_runs([experiment.experiment_id], "params.`method.shallow_layers` LIKE '%'")
        for run in runs:
            losses = [point.value for point in client.get_metric_history(run.info.run_id, "train/loss")]
            split = int(run.data.params["method.shallow_layers"])
            found.setdefault(split, {})[run.info.run_id] = (*losses, run.data.metrics["test/ndcg_10"])
    assert set(found) == {1, 5}
    for runs in found.values():
        assert len(runs) == 2
        assert len(set(runs.values())) == 1
    assert len({next(iter(runs.values())) for runs in found.values()}) == 2
