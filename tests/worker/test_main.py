"""`python -m trainables`: one trial, no Ray, no MLflow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.ring import ring
from trainables.__main__ import main
from trainables.config import field_names
from trainables.runtime import registry

CURVE = "tests.trainables.curve"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def steps(text: str) -> list[int]:
    return [json.loads(line)["step"] for line in text.splitlines()]


def test_each_report_is_one_line_of_json(capsys):
    assert main([CURVE, "steps=2", "part.name=curved", "x=1e-1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2]
    assert set(lines[0]) == {"step", "train/loss", "valid/ndcg_10", "valid/hr_10"}
    assert set(lines[-1]) == {"step", "test/ndcg_10"}


def test_each_setting_has_a_folder_of_its_own_so_that_none_carries_on_anothers_checkpoint(capsys, tmp_path):
    main([CURVE, "steps=2", "x=0.5"])
    capsys.readouterr()
    main([CURVE, "steps=3", "x=0.5"])
    assert steps(capsys.readouterr().out) == [1, 2, 3, 3]
    assert len(list((tmp_path / "runs" / "single").iterdir())) == 2


def test_a_folder_that_is_named_is_carried_on(capsys, tmp_path):
    main([CURVE, "steps=2", "--folder", str(tmp_path / "mine")])
    capsys.readouterr()
    main([CURVE, "steps=4", "--folder", str(tmp_path / "mine")])
    assert steps(capsys.readouterr().out) == [3, 4, 4]


def test_values_may_follow_an_option(capsys, tmp_path):
    assert main([CURVE, "steps=2", "--folder", str(tmp_path / "mine"), "x=0.5"]) == 0
    assert steps(capsys.readouterr().out) == [1, 2, 2]


@pytest.mark.parametrize(
    "words",
    ["CURVE --folder F steps=2 x=0.5", "--folder F CURVE steps=2 x=0.5", "steps=2 --folder F x=0.5 CURVE",
     "steps=2 CURVE --folder=F x=0.5", "--folder F steps=2 CURVE x=0.5"],
)  # fmt: skip
def test_options_and_fields_stand_in_any_order(capsys, tmp_path, words):
    assert main(words.replace("CURVE", CURVE).split()) == 0
    assert steps(capsys.readouterr().out) == [1, 2, 2]
    assert (tmp_path / "F").is_dir()


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("spectran --seed 3", "but got '--seed'; write seed=3"),
        ("spectran --epochs=3", "but got '--epochs=3'; write fit.epochs=3"),
        ("spectran --fit.epochs 3", "but got '--fit.epochs'; write fit.epochs=3"),
        ("spectran --batch-size 3", "but got '--batch-size'; write fit.batch_size=3"),
        ("spectran seed 3", "but got 'seed'; write seed=3"),
        ("spectran seed", "but got 'seed'; write seed=VALUE"),
    ],
)
def test_a_field_that_is_written_otherwise_gets_the_way_to_write_it(capsys, words, remedy):
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == 2
    assert f"a value must be written field=value, {remedy}\n" in capsys.readouterr().err


def test_a_wrong_field_or_value_exits_2_with_every_problem(capsys):
    assert main([CURVE, "widht=3", "steps=0", "seed=abc"]) == 2
    said = capsys.readouterr().err
    assert "widht: " in said
    assert "steps: must be at least 1, but got 0" in said
    assert "seed: " in said
    assert main([CURVE, f"seed={'9' * 5000}"]) == 2
    assert "seed: must be a whole number, but got '9999" in capsys.readouterr().err


def test_an_unknown_trainable_exits_2_with_the_nearest(capsys):
    assert main(["spectrn"]) == 2
    assert "did you mean 'spectran'?" in capsys.readouterr().err


def test_a_value_without_a_field_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main([CURVE, "seed"])
    assert end.value.code == 2
    assert "a value must be written field=value, but got 'seed'" in capsys.readouterr().err


def test_the_command_itself_imports_neither_ray_nor_mlflow(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from trainables.__main__ import main\n"
        f"assert main([{CURVE!r}, 'steps=1', 'checkpoints=false']) == 0\n"
        "assert not {'ray', 'mlflow', 'optuna'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert steps(done.stdout) == [1, 1]


@pytest.mark.parametrize("name", [*registry.names(), CURVE])
def test_help_of_a_trainable_has_every_field_with_type_default_and_docstring(name, capsys):
    assert main([name, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    trainable = registry.load(name)
    for field in field_names(trainable.config).values():
        assert f" {field.name}: {field.type_text};" in said
        assert " ".join(field.doc.split()) in said
    assert all(metric in said for metric in trainable.metrics)


def test_help_says_default_and_choice_of_a_field(capsys):
    main(["--help", "spectran"])
    said = " ".join(capsys.readouterr().out.split())
    assert "fit.patience: a whole number at least 1; default 10 Epochs without a better objective" in said
    assert "adapter.taylor_order: a whole number at least 0; default 3 with adapter.name=spectran n of equation" in said


@pytest.mark.parametrize("columns", [72, 140])
def test_help_names_what_each_choice_is_as_wide_as_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    main(["spectran", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert columns - 20 < max(map(len, lines)) <= columns
    said = " ".join(" ".join(lines).split())
    assert '"spectran" The adapter from text to item vectors. none: Item vectors are free ID embeddings; no' in said
    assert 'default "sasrec" Encoder of the history. sasrec: Causal Transformer over the history (Kang' in said
    for name in registry.names():
        for field in field_names(registry.load(name).config).values():
            assert all(doc for _, doc in field.choice_docs)
            assert not field.choice_docs or field.doc


def test_help_without_a_trainable_names_them_all(capsys):
    assert main(["--help"]) == 0
    assert "trainables: floors, hatllm, pad, spectran" in capsys.readouterr().out
    assert main(["spectrn", "--help"]) == 2
    assert "did you mean 'spectran'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([])
    assert "name a trainable: floors, hatllm, pad, spectran" in capsys.readouterr().err


def floors(root: Path) -> int:
    return main(["floors", f"data.root={root}", "data.name=ring"])


def test_a_floor_counts_a_ring_right_and_says_that_its_ratings_are_not_read(capsys, tmp_path):
    ring(tmp_path, "ring")
    assert floors(tmp_path) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1])["test/ndcg_10"] == 1.0
    assert said.err.startswith("note: ring: the column rating is not read")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"untimed": 1}, "ring.inter:2: every line must have a timestamp unless each user's ascend where they stand, "
                         "but 1 of 240 lines have none (line 2), and line "),
        ({"time": "time"}, "ring.inter:1: times must be in a column timestamp, or the file's order counts, but got "
                           "time, which looks like a time; rename the column to timestamp:float"),
    ],
)  # fmt: skip
def test_a_ring_whose_order_is_not_certain_exits_2_with_the_line(capsys, tmp_path, given, message):
    ring(tmp_path, "ring", **given)
    assert floors(tmp_path) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_a_trial_runs_again_by_its_own_resolved_values_in_a_folder_of_its_own(capsys, tmp_path):
    main([CURVE, "steps=2", "x=0.5", "part.name=curved", "--folder", "mine"])
    first = capsys.readouterr().out
    before = {path: path.read_bytes() for path in Path("mine").rglob("*") if path.is_file()}
    assert main(["--from", "mine"]) == 0
    assert capsys.readouterr().out == first
    assert main([CURVE, "--from", "mine", "steps=3", "part.name=plain"]) == 0
    assert steps(capsys.readouterr().out) == [1, 2, 3, 3]
    config = json.loads(next(Path("runs/single").glob("*/artifacts/config.json")).read_text())
    assert (config["trainable"], config["x"]) == (CURVE, 0.5)
    assert {path: path.read_bytes() for path in Path("mine").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "nowhere"], "--from: must be a trial's folder, with artifacts/config.json, but "),
        (["spectran", "--from", "mine"], f"--from: that trial is of {CURVE}, but got spectran; leave the name out"),
        (
            ["--from", "mine", "--folder", "./mine"],
            "--folder: must be another folder than that of the trial, mine, but",
        ),
        (["--from", "mine", "x=***"], "--from: every value must be known, but x was hidden as a secret; write x=VALUE"),
    ],
)
def test_a_trial_that_cannot_run_again_says_why(words, message, capsys):
    main([CURVE, "steps=1", "--folder", "mine"])
    capsys.readouterr()
    assert main(words) == 2
    assert message in capsys.readouterr().err
