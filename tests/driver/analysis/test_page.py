"""The page of a sweep: everything in one file, and nothing of a hostile sweep in it runs."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from platform.analysis import compare, page, pairs
from platform.pictures import interactive
from platform.storage.trial_end import State, TrialEnd
from platform.sweepfile.spec import SweepSpec, load
from platform.tracking.journal import TrialFiles

EVIL = "</script><script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">"
SWEEP = """\
name: shown
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 9
seeds: {values: [0, 1], best: all}
parameters:
  data.name: toys
  x: {min: 1.0e-4, max: 1.0, log: true}
  part.name: {values: [plain, EVIL]}
compare: {by: [part.name]}
"""


@pytest.fixture
def hostile(tmp_path, write_trial, monkeypatch) -> tuple[SweepSpec, Path]:
    """A sweep whose values and errors hold HTML, with two seeds per setting, a failure and a trial that runs."""
    monkeypatch.setenv("SWEEP_STORAGE", str(tmp_path / "runs"))
    file = tmp_path / "shown.yaml"
    file.write_text(SWEEP.replace("EVIL", json.dumps(EVIL)))
    folder = tmp_path / "runs" / "shown"
    for number in range(8):
        values = {"data.name": "toys", "x": 0.001 * 4 ** (number // 4), "seed": number % 2}
        values |= {"part.name": ("plain", EVIL)[number // 2 % 2]}
        ranks = [1 + (number + user) % 9 for user in range(12)]
        curve = [0.1, 0.1 + number / 50]
        write_trial(folder, number, values, curve, {"test/ndcg_10": 0.2 + number / 100}, ranks=ranks,
                    state=None if number == 7 else "COMPLETE")  # fmt: skip
    failed = TrialFiles(folder, 8)
    failed.begin({"data.name": "toys", "x": 0.1, "part.name": EVIL, "seed": 0})
    failed.end(TrialEnd(State.FAIL, f"exception: {EVIL}\nsecond line", 1e9))
    return load(file), folder


class Tags(HTMLParser):
    """The tags of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.found.append((tag, dict(attrs)))


def write(spec: SweepSpec, folder: Path, prints: bool = False) -> str:
    compared = compare.compare([(spec, folder)])
    tests = pairs.paired(compared)
    page.write([(spec, folder)], folder / page.NAME, folder / page.PICTURES, compared, tests, prints=prints)
    return (folder / page.NAME).read_text()


def test_the_page_says_what_was_asked_found_tested_and_how_to_go_on(hostile):
    spec, folder = hostile
    (folder / page.PROVENANCE).write_text('{"mlflow.source.git.commit": "c0ffee", "version.optuna": "5.0"}')
    text = write(spec, folder)
    for shown in ("9 of 9 trials: 7 complete, 1 failed, 1 unfinished", "valid/ndcg_10 (maximize)", "c0ffee",
                  "optuna 5.0", "data.fingerprint f00", "mean ± deviation over 2 seeds", "Paired tests of test/ndcg_10",
                  "No training-free floor", "python -m platform.sweep", "--set num_trials=18"):  # fmt: skip
        assert shown in text, shown
    assert "second line" not in text
    assert interactive.script() in text, "plotly.js must be whole"
    names = "cells differences history curves slices importance contour parallel timeline"
    assert set(re.findall(r'id="picture-\w+-(\w+)"', text)) == set(names.split())
    assert {path.stem for path in (folder / page.PICTURES).glob("*.html")} == set(names.split())


def test_names_values_and_errors_stay_text_and_only_the_pages_own_scripts_may_run(hostile):
    tags = Tags()
    tags.feed(write(*hostile))
    nonces = {attributes.get("nonce") for tag, attributes in tags.found if tag == "script"}
    assert len(nonces) == 1
    assert nonces.pop()
    assert not [tag for tag, attributes in tags.found if tag == "img" or "onerror" in attributes or "src" in attributes]
    policy = next(attributes["content"] for tag, attributes in tags.found if "content" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "unsafe-inline'; img-src" in policy.partition("style-src")[2]


def test_a_secret_among_the_choices_is_in_no_page(hostile):
    spec, folder = hostile
    secret = "s3://user:in-the-url@host/data"
    spec = load(spec.path, [f"parameters.data.name={{values: [toys, '{secret}']}}", "compare.by=[data.name]"])
    trial = TrialFiles(folder, 8)
    trial.begin({})
    values = {"data.name": secret, "x": 0.1, "part.name": "plain", "seed": 0}
    (trial.folder / "trial.json").write_text(json.dumps({"values": values, "started": 1e9}))
    trial.append(1, {"valid/ndcg_10": 0.9})
    trial.end(TrialEnd(State.COMPLETE, "finished", 1e9))
    assert "***@host" in write(spec, folder, prints=True)
    for path in (folder / page.NAME, *(folder / page.PICTURES).iterdir()):
        assert b"in-the-url" not in path.read_bytes(), path


def test_a_page_that_cannot_be_written_costs_nothing(hostile, caplog):
    spec, folder = hostile
    (folder / page.PICTURES).write_text("a file")
    assert page.try_write(spec, folder, None, None) == []
    assert "report.html is not written" in caplog.text


def test_a_page_is_refreshed_for_at_most_a_hundredth_of_the_time(hostile, monkeypatch):
    times = iter((0.0, 59.0, 60.0, 62.0, 62.0, 259.0, 260.0, 260.1, 260.1))
    written: list[float] = []
    monkeypatch.setattr("platform.analysis.page.time.monotonic", lambda: next(times))
    monkeypatch.setattr(page, "try_write", lambda *_: written.append(1))
    refresh = page.Refresh(*hostile)
    for expected in (0, 1, 1, 2):
        refresh.if_due()
        assert len(written) == expected


@pytest.mark.slow
def test_a_browser_draws_every_picture_without_network_and_runs_nothing_of_theirs(hostile, tmp_path):
    if not (browser := shutil.which("chromium")):
        pytest.skip("no Chromium: apt-get install chromium")

    def open_page(file: Path) -> tuple[str, list[str]]:
        """The page once it is drawn, and the addresses outside this machine that were asked for."""
        log = tmp_path / "net.json"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom",
                   "--host-resolver-rules=MAP * ~NOTFOUND", f"--log-net-log={log}", f"--user-data-dir={tmp_path}/home",
                   file.as_uri()]  # fmt: skip
        dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        hosts = re.findall(r'"url":"https?://([^/"]*)', log.read_text(errors="ignore"))
        return dom, [host for host in hosts if not re.search(r"\.(google|gvt1|googleapis)\.com$", host)]  # its own

    spec, folder = hostile
    write(spec, folder)
    for file, count in ((folder / page.NAME, 9), (folder / page.PICTURES / "contour.html", 1)):
        dom, asked = open_page(file)
        assert asked == []
        figures = re.split(r'class="(?:plotly-graph-div )?js-plotly-plot"', dom)[1:]
        assert len(figures) == count
        assert all(re.search(r'class="(?:point|js-line)"', figure) for figure in figures)
        assert "<title>evil" not in dom
    planted = tmp_path / "planted.html"
    planted.write_text(f'<script src="https://cdn.example.org/plotly.js"></script>{EVIL}')
    dom, asked = open_page(planted)
    assert "cdn.example.org" in asked
    assert "<title>evil" in dom
