"""Tables of numbers among a trial's artifacts are drawn; anything else is left alone."""

from pathlib import Path

import optuna

from platform.pictures import plots


def test_a_table_of_numbers_becomes_a_page_of_its_curves(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights.csv").write_text("dimension,principal,subordinate\n1,0.5,2\n2,0.25,3\n")
    plots.tables(tmp_path)
    page = (tmp_path / "deep" / "weights.html").read_text()
    assert '"name":"principal"' in page.replace(": ", ":")
    assert '"name":"subordinate"' in page.replace(": ", ":")
    assert "0.25" in page
    assert "dimension" in page


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
    plots.tables(tmp_path)
    assert list(tmp_path.glob("*.html")) == []


def test_the_overview_shows_no_secret(tmp_path):
    study = optuna.create_study()
    for key in ("of-a-setting-1", "of-a-setting-2"):
        study.enqueue_trial({"hub.api_key": key, "text": f"https://me:{key}@hub", "x": 0.5})
        trial = study.ask()
        trial.suggest_categorical("text", ["https://me:of-a-setting-1@hub", "https://me:of-a-setting-2@hub"])
        trial.suggest_categorical("hub.api_key", ["of-a-setting-1", "of-a-setting-2"])
        study.tell(trial, trial.suggest_float("x", 0, 1))
    files = plots.overview(study, "valid/ndcg_10", tmp_path)
    assert len(files) == 3
    assert not [path for path in files if "of-a-setting" in path.read_text()]
