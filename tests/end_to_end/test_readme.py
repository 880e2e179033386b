"""Every command and every example of the README runs."""

import gzip
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from platform.sweepfile.early_stopping import EARLY_STOPPINGS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


COMMANDS = [line.split("&& ")[-1] for block in blocks("sh") for line in block.splitlines()]
PRINTED = [line for line in COMMANDS if line.endswith(("--keys", "--help"))]
SWEEPS = list(dict.fromkeys(line for line in COMMANDS if "platform.sweep" in line and line not in PRINTED))


def run(line: str, storage: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the README with this interpreter and a storage of its own."""
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    command = [sys.executable, *words[len(variables) + 1 :], *more]
    environment = {**os.environ, **variables, "SWEEP_STORAGE": str(storage)}
    if "SWEEP_DATA" in variables and "SWEEP_DATA" in os.environ:
        environment["SWEEP_DATA"] = os.environ["SWEEP_DATA"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_the_readme_has_the_commands_that_the_tests_below_know():
    assert len(PRINTED) == 2
    known = {"python -m pytest", "mlflow ui", "python -m trainables", "platform.sweep", "platform.results"}
    known |= {"platform.submit"}  # test_submit.py runs them
    assert len(SWEEPS) >= 5
    assert [line for line in COMMANDS if not any(part in line for part in known)] == []


@pytest.mark.parametrize("line", [line for line in SWEEPS if "--check" in line or "--plan" in line])
def test_a_sweep_can_be_checked_and_planned(line, tmp_path):
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "spectran" in done.stdout


@pytest.mark.parametrize("line", PRINTED)
def test_what_a_sweep_can_say_is_printed(line, tmp_path):
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("early_stopping.min_reports" if "--keys" in line else "adapter.taylor_order: ") in done.stdout


def test_the_early_stoppings_that_the_readme_names_are_there():
    (names,) = re.findall(r"`early_stopping` is (.*?) or another", README)
    assert set(names.split(", ")) < set(EARLY_STOPPINGS)


def shorter(line: str) -> list[str]:
    """Settings that make a sweep's trials short."""
    if "floors" in line:
        return []
    least = (
        {"fit.steps": 2, "fit.evaluate_every": 1, "llm.pretrain_steps": 2} if "hatllm" in line else {"fit.epochs": 2}
    )
    return [word for name, value in least.items() for word in ("--set", f"parameters.{name}={value}")]


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in SWEEPS if "--check" not in line and "--plan" not in line])
def test_a_sweep_runs_to_its_table(line, tmp_path, request):
    if "SWEEP_DATA" in line:
        request.getfixturevalue("real_data")
    done = run(line, tmp_path, "--set", "num_trials=2", *shorter(line))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "best trials" in done.stdout
    assert "mlflow ui --backend-store-uri sqlite:///" in done.stdout


@pytest.mark.slow
def test_finished_sweeps_become_one_table_with_paired_tests(tmp_path):
    (line,) = [line for line in COMMANDS if "platform.results" in line]
    for file in re.findall(r"sweeps/\S+", line):
        epochs = [] if "floors" in file else ["--set", "parameters.fit.epochs=1"]
        made = run(f"python -m platform.sweep {file} --address inline", tmp_path, "--set", "num_trials=2", *epochs)
        assert made.returncode == 0, made.stderr
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "transitions" in done.stdout
    assert len((tmp_path / "spectran-vs-baselines" / "pairs.csv").read_text().splitlines()) > 1


@pytest.mark.parametrize("line", [line for line in COMMANDS if "trainables.data" in line])
def test_a_public_dump_becomes_a_data_set(line, tmp_path, monkeypatch):
    words = shlex.split(line)
    dumps = [Path(word) for word in words if Path(word).suffix in {".gz", ".tsv"}]
    reviews = "".join(
        f'{{"reviewerID": "u{user}", "asin": "b{(user + step) % 6}", "unixReviewTime": {step}, "overall": 5.0}}\n'
        for user in range(6)
        for step in range(6)
    )
    clicks = "".join(f"{user}\tu{user}\t11/11/2019 9:0{user}:00 AM\tn0 n1 n2 n3\tn4-1 n5-0\n" for user in range(6))
    titles = "".join(f'{{"asin": "b{item}", "title": "Soap {item}"}}\n' for item in range(6))
    news = "".join(f"n{item}\tnews\tlocal\tTitle {item}\t\t\t\t\n" for item in range(6))
    contents = {"reviews": reviews, "meta": titles, "behaviors": clicks, "news": news}
    for path in dumps:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(tmp_path / path, "wt") as stream:
            kind = path.name.partition(".")[0].partition("_")[0]
            stream.write(contents.get(kind, reviews))  # of 2018 by their category
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name = words[words.index("--name") + 1]
    assert (tmp_path / "data" / name / f"{name}.inter").read_text().count("\n") > 20


def test_every_data_set_of_a_shipped_sweep_is_told_where_it_comes_from():
    texts = [file.read_text() for file in (ROOT / "sweeps").rglob("*.yaml")]
    named = {name for text in texts for name in re.findall(r"\bamazon-[a-z-]+-20\d\d\b|\bmind\b(?=[,:\]])", text)}
    assert len(named) == 8
    assert all(f"`{name}`" in README for name in named)


def test_one_trial_runs_without_ray(tmp_path):
    (line,) = [line for line in COMMANDS if "python -m trainables " in line and line not in PRINTED]
    done = run(line, tmp_path, "--folder", str(tmp_path / "single"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"valid/ndcg_20"') == 2
    assert done.stdout.count('"test/ndcg_20"') == 1


@pytest.mark.slow
def test_the_mlflow_command_serves_the_ui(tmp_path):
    (line,) = [line for line in COMMANDS if line.startswith("mlflow")]
    (tmp_path / "runs").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        *shlex.split(line)[1:],
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        try:
            assert _answers(f"http://127.0.0.1:{port}/health"), (tmp_path / "log").read_text()
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


def _answers(url: str, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.read() == b"OK")
        except OSError:
            time.sleep(0.3)
    return False


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return path

    return write


def test_the_example_sweep_is_valid(written):
    (text,) = blocks("yaml")
    done = run(f"python -m platform.sweep {written(text)} --check", Path(written(text)).parent)
    assert done.returncode == 0, done.stderr


def test_the_example_trainable_runs_as_a_sweep(tmp_path, written):
    config, run_ = blocks("python")
    package = tmp_path / "mine" / "linear"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "config.py").write_text(config)
    (package / "run.py").write_text(run_)
    file = written(
        "name: linear\ntrainable: mine.linear\nmetric: {name: valid/ndcg_10, goal: maximize}\nnum_trials: 3\n"
        "parameters: {x: {min: 0.0, max: 1.0}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SWEEP_STORAGE": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "platform.sweep", str(file), "--address", "inline"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "linear: 3 complete" in done.stdout
