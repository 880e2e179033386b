"""Pages of one trial: its learning curve, and its tables of numbers; each holds all that it shows."""

import json
import re
from pathlib import Path

from platform.pictures import trial


def test_a_table_of_numbers_becomes_a_page_of_its_curves(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights.csv").write_text("dimension,principal,subordinate\n1,0.5,2\n2,0.25,3\n")
    trial.draw([], tmp_path)
    page = (tmp_path / "deep" / "weights.html").read_text()
    assert ">principal</text>" in page
    assert ">subordinate</text>" in page
    assert ">dimension</text>" in page
    assert len(re.findall(r'<path d="M[\d.]+ [\d.]+L', page)) == 2
    assert "<script" not in page


def test_losses_and_validation_stand_on_two_panels_with_those_of_phases(tmp_path: Path) -> None:
    names = ("train/loss", "valid/ndcg_10", "phase1/train/loss", "test/ndcg_10")
    lines = [{"step": step, "metrics": dict.fromkeys(names, 0.5 / step)} for step in (1, 2)]
    loss, valid = trial.learning_curve(lines).panels
    assert [series.name for series in loss.series] == ["phase1/train/loss", "train/loss"]
    assert [series.name for series in valid.series] == ["valid/ndcg_10"]


def test_values_that_are_no_numbers_interrupt_a_curve_and_names_stay_text(tmp_path: Path) -> None:
    name = "train/<script>alert(1)</script>"
    lines = [{"step": step, "metrics": {name: value}} for step, value in enumerate((1.0, 2.0, None, 3.0, float("inf")))]
    trial.draw(lines, tmp_path)
    page = (tmp_path / "learning_curve.html").read_text()
    assert "<script" not in page
    assert "alert(1)" in page
    assert page.count("<circle") == 3


def test_words_beside_a_table_stand_on_its_picture_and_foreign_ones_are_left(tmp_path: Path) -> None:
    for name in ("gate", "other", "torn"):
        (tmp_path / f"{name}.csv").write_text("bucket,id\n1,0.5\n2,0.25\n")
    words = {"title": "Weights of the gate", "x": "bucket of items", "y": "mean weight", "caption": "Read it so."}
    (tmp_path / "gate.json").write_text(json.dumps(words))
    (tmp_path / "other.json").write_text("[1, 2]")
    (tmp_path / "torn.json").write_text("{")
    trial.draw([], tmp_path)
    page = (tmp_path / "gate.html").read_text()
    assert all(f">{text}<" in page for text in words.values())
    assert ">bucket</text>" in (tmp_path / "other.html").read_text()
    assert "Drawn from torn.csv." in (tmp_path / "torn.html").read_text()


def test_what_is_no_table_of_numbers_is_left_alone(tmp_path: Path) -> None:
    for name, text in {
        "words": "a,b\n1,x\n",
        "one": "a\n1\n",
        "empty": "",
        "head": "a,b\n",
        "torn": "a,b\n1,2\n3\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    (tmp_path / "long.csv").write_text(f"a,b\n1,{'2' * 2**18}\n")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "nowhere.csv").symlink_to("gone")
    trial.draw([], tmp_path)
    assert [path.name for path in tmp_path.glob("*.html")] == ["learning_curve.html"]
