"""Every command and every example on every page runs."""

import gzip
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from tests.pages import ROOT, blocks, commands, pages
from tests.servers import answer_of, free_port
from trainables.config import build
from trainables.runtime import registry

COMMANDS = commands()
_LOOKS = ("--check", "--plan", "--retry", "--status", "--pause", "--unpause")
ELSEWHERE = {
    ".ci/run": (
        "python3 -m venv .venv", ". .venv/bin/activate", 'pip install -c infra/constraints.txt -e ".[dev]"', ".ci/run",
        "python -m pytest", "python -m pytest -m slow", "ruff check .", "ruff format .", "mypy",
    ),
    "tests/contract/test_imports.py": ("python -m tests.house platform", "python -m tests.house trainables"),
    "tests/driver/sweepfile/test_schema.py": ("python -m platform.sweepfile.schema > sweeps/schema.json",),
    "tests/end_to_end/test_wheel.py": ("pip wheel --no-deps -w dist .",),
    "tests/end_to_end/test_submit.py": tuple(line for line in COMMANDS if "platform.submit" in line),
    "tests/end_to_end/test_completion.py": ('eval "$(activate-global-python-argcomplete --dest=-)"',),
    "by hand": ("pip install pre-commit", "pre-commit install"),
}  # fmt: skip
"""Commands that are run by something else than the tests below."""
PRINTED = [line for line in COMMANDS if line.endswith(("--keys", "--help"))]
SWEEPS = [line for line in COMMANDS if "platform.sweep " in line and line not in PRINTED]
LOOKED_AT = [line for line in SWEEPS if line.endswith(_LOOKS)]
RUN = [line for line in SWEEPS if line not in LOOKED_AT]
RESULTS = [line for line in COMMANDS if "platform.results" in line]
AGAIN = [line for line in COMMANDS if line.startswith("python -m trainables --from ")]
SINGLE = [line for line in COMMANDS if line.startswith("python -m trainables ") and line not in (*PRINTED, *AGAIN)]
RECOMMENDED = [line for line in COMMANDS if line.startswith("python -m trainables.model ")]
PREPARED = [line for line in COMMANDS if "trainables.data prepare" in line]
ENCODED = [line for line in COMMANDS if "trainables.data encode" in line]
BENCHMARKS = [line for line in COMMANDS if re.search(r"tests.benchmarks", line)]
SERVED = [line for line in COMMANDS if line.startswith("mlflow ui")]
OF_TESTS = [line for line in COMMANDS if line.startswith("python -m pytest tests/")]
EXAMPLE = ROOT / "trainables" / "README.md"
"""The page with a trainable of one's own."""


def run(line: str, storage: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the README with this interpreter and a storage of its own."""
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    command = [sys.executable, *words[len(variables) + 1 :], *more]
    environment = {**os.environ, **variables, "SWEEP_STORAGE": str(storage)}
    if "SWEEP_DATA" in variables and "SWEEP_DATA" in os.environ:
        environment["SWEEP_DATA"] = os.environ["SWEEP_DATA"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_every_command_is_run_by_a_test():
    kinds = (
        PRINTED,
        LOOKED_AT,
        RUN,
        RESULTS,
        SINGLE,
        AGAIN,
        RECOMMENDED,
        PREPARED,
        ENCODED,
        BENCHMARKS,
        SERVED,
        OF_TESTS,
    )
    assert all(kinds)
    covered = [line for kind in (*kinds, *ELSEWHERE.values()) for line in kind]
    assert sorted(covered) == sorted(COMMANDS)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_every_folder_of_tests_is_there(page):
    text = page.read_text()
    for target, _, anchor in re.findall(r"\]\(([^)#]*)(#?)([^)]*)\)", text):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert all((ROOT / line.split()[-1]).exists() for line in OF_TESTS)


@pytest.mark.parametrize("line", LOOKED_AT)
def test_a_sweep_can_be_checked_and_planned(line, tmp_path):
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "spectran" in done.stdout


@pytest.mark.parametrize("line", PRINTED)
def test_what_a_sweep_can_say_is_printed(line, tmp_path):
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("early_stopping.min_reports" if "--keys" in line else "adapter.taylor_order: ") in done.stdout


def test_the_page_on_sweeps_names_every_early_stopping():
    page = (ROOT / "sweeps" / "README.md").read_text()
    table = page[page.index("| `early_stopping` | ends |") :].partition("\n\n")[0]
    first_cells = " ".join(row.split("|")[1] for row in table.splitlines()[2:])
    assert set(re.findall(r"`(\w+)`", first_cells)) == set(EARLY_STOPPINGS)


def shorter(line: str) -> list[str]:
    """Settings that make a sweep's trials short."""
    if "floors" in line:
        return []
    least = (
        {"fit.steps": 2, "fit.evaluate_every": 1, "llm.pretrain_steps": 2} if "hatllm" in line else {"fit.epochs": 2}
    )
    return [word for name, value in least.items() for word in ("--set", f"parameters.{name}={value}")]


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN)
def test_a_sweep_runs_to_its_table(line, tmp_path, request):
    if "SWEEP_DATA" in line:
        request.getfixturevalue("real_data")
    done = run(line, tmp_path, "--set", "num_trials=2", *shorter(line))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "best trials" in done.stdout
    assert "mlflow ui --backend-store-uri sqlite:///" in done.stdout


@pytest.mark.slow
def test_finished_sweeps_become_one_table_with_paired_tests(tmp_path):
    (line,) = RESULTS
    for file in re.findall(r"sweeps/\S+", line):
        epochs = [] if "floors" in file else ["--set", "parameters.fit.epochs=1"]
        made = run(f"python -m platform.sweep {file} --address inline", tmp_path, "--set", "num_trials=2", *epochs)
        assert made.returncode == 0, made.stderr
    done = run(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "transitions" in done.stdout
    assert len((tmp_path / "spectran-vs-baselines" / "pairs.csv").read_text().splitlines()) > 1


@pytest.mark.parametrize("line", PREPARED)
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
    texts = [page.read_text() for page in pages()]
    assert all(any(f"`{name}`" in text for text in texts) for name in named)


def test_vectors_of_titles_are_encoded(tmp_path):
    """A module of its name stands in for sentence-transformers."""
    (tmp_path / "sentence_transformers.py").write_text(
        "import numpy\n\nclass SentenceTransformer:\n    def __init__(self, name):\n        pass\n\n"
        "    def encode(self, texts, **options):\n        return numpy.ones((len(texts), 3))\n"
    )
    (line,) = ENCODED
    name = line.split()[line.split().index("--name") + 1]
    folder = tmp_path / "data" / name
    folder.mkdir(parents=True)
    (folder / f"{name}.item").write_text("item_id:token\ttitle:token_seq\n1\tred pie\n2\tdesk lamp\n")
    (folder / f"{name}.inter").write_text("user_id:token\titem_id:token\nu\t1\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    command = [sys.executable, *shlex.split(line)[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = EXAMPLE.read_text() + "".join(path.read_text() for path in (ROOT / "sweeps").glob("*.yaml"))
    assert [path.name.replace(name, "<name>") in text for path in folder.glob("*.npy")] == [True]


@pytest.mark.parametrize("line", SINGLE)
def test_a_single_trial_has_fields_of_its_trainable(line):
    name, *words = shlex.split(line)[3:]
    texts = dict(word.split("=", 1) for word in words if "=" in word)
    numbers = {field: float(text) for field, text in texts.items() if re.fullmatch(r"\d+e-\d+", text)}
    whole = {field: int(text) for field, text in texts.items() if text.isdecimal()}
    build(registry.load(name).config, {**texts, **numbers, **whole})


def shortest(line: str) -> list[str]:
    """Fields that make a single trial short."""
    if "hatllm" in line:
        return ["fit.steps=2", "fit.evaluate_every=1", "llm.pretrain_steps=2"]
    phases = ["pretrain.epochs=1", "align.epochs=1", "data.keep_last=5"] if " pad " in line else []
    return ["fit.epochs=1", "dim=16", "data.max_history=5", *phases]


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in SINGLE if "--gpu" not in line and "synthetic" not in line])
def test_a_single_trial_of_every_method_runs(line, tmp_path, request, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if "amazon" in line:
        monkeypatch.setenv("SWEEP_DATA", str(request.getfixturevalue("real_data")))
    done = run(line, tmp_path, *shortest(line), "--folder", str(tmp_path / "single"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"test/ndcg_10"') == 1


@pytest.mark.slow
def test_one_trial_runs_without_ray_and_its_model_recommends(tmp_path, monkeypatch):
    (line,), (again,), (lists,) = [line for line in SINGLE if "synthetic" in line], AGAIN, RECOMMENDED
    done = run(line.replace("runs/first", str(tmp_path / "runs" / "first")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"valid/ndcg_20"') == 2
    assert done.stdout.count('"test/ndcg_20"') == 1
    done = run(lists.replace("runs/", f"{tmp_path}/runs/"), tmp_path)
    assert done.stdout == f"{tmp_path}/runs/lists.tsv: 1200 lists\n", done.stderr
    done = run(again.replace("runs/", f"{tmp_path}/runs/"), tmp_path, "--folder", str(tmp_path / "again"))
    assert done.stdout.count('"valid/ndcg_20"') == 3, done.stderr
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(blocks("python", EXAMPLE)[0], scope)
    assert [len(each) for each in scope["lists"]] == [10]


@pytest.mark.slow
@pytest.mark.parametrize("line", BENCHMARKS)
def test_a_benchmark_says_what_it_measures(line, tmp_path):
    done = run(line, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in line.split() if word.startswith("--"))


@pytest.mark.slow
@pytest.mark.parametrize("storage", [None, "elsewhere"])
def test_the_mlflow_command_serves_the_ui(storage, tmp_path, monkeypatch):
    (line,) = SERVED
    monkeypatch.delenv("SWEEP_STORAGE", raising=False)
    if storage:
        monkeypatch.setenv("SWEEP_STORAGE", str(tmp_path / storage))
    folder = tmp_path / (storage or "runs")
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    port = free_port()
    command = ["bash", "-c", f"exec {line} --port {port} --workers 1"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        try:
            assert answer_of(f"http://127.0.0.1:{port}/health") == b"OK", (tmp_path / "log").read_text()
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)
    assert (folder / "mlflow.db").is_file()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("text", [text for text in blocks("yaml") if "mine." not in text], ids=lambda text: text[6:20])
def test_an_example_sweep_is_valid(text, written):
    done = run(f"python -m platform.sweep {written(text)} --check", Path(written(text)).parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_example_trainable_runs_as_a_sweep(tmp_path, written):
    _, config, run_ = blocks("python", EXAMPLE)
    (sweep,) = blocks("yaml", EXAMPLE)
    package = tmp_path / "mine" / "linear"
    package.mkdir(parents=True)
    (package / "config.py").write_text(config)
    (package / "run.py").write_text(run_)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SWEEP_STORAGE": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "platform.sweep", str(written(sweep)), "--address", "inline"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "linear: 3 complete" in done.stdout


@pytest.mark.slow
def test_the_lines_for_a_notebook_read_a_finished_sweep(tmp_path):
    (text,) = blocks("python", ROOT / "sweeps" / "README.md")
    short = ("num_trials=3", "early_stopping=none", "parameters.fit.epochs=1")
    made = run(
        "python -m platform.sweep sweeps/spectran_taylor.yaml --address inline",
        tmp_path / "runs",
        *(word for override in short for word in ("--set", override)),
    )
    assert made.returncode == 0, made.stderr
    environment = {**os.environ, "SWEEP_STORAGE": "runs"}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\[\(1, 0\.\d+\)\]$", done.stdout, flags=re.MULTILINE)
    assert "fit.dropout" in done.stdout


def test_the_picture_is_small_and_made_by_a_script_that_is_named():
    assert (ROOT / ".github" / "sweep.png").stat().st_size < 200_000
    scripts = {f"tests.benchmarks.{path.stem}" for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    assert scripts - {line.split()[2] for line in BENCHMARKS} == {"tests.benchmarks.recbole_peer"}
