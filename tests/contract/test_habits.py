"""The project's habits: workflow, pre-commit and changelog do what CONTRIBUTING says."""

import shlex
import subprocess
from pathlib import Path

import yaml

from platform.errors import Busy, InvalidSweep, SweepError
from platform.sweepfile.fields import keys_of
from tests.pages import ROOT


def test_the_workflow_runs_what_every_change_must_pass() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]


def test_pre_commit_runs_only_what_is_installed_here(tmp_path: Path) -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    repos = yaml.safe_load(text)["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert "://" not in text
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    for size, code in ((512_000, 0), (512_001, 1)):
        (tmp_path / "a file").write_bytes(b"0" * size)
        command = [*shlex.split(hooks["large-files"]["entry"]), str(tmp_path / "a file")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


def test_the_changelog_names_every_key_and_exit_code() -> None:
    text = (ROOT / ".github" / "CHANGELOG.md").read_text()
    codes = (0, *(error.exit_code for error in (SweepError, InvalidSweep, Busy)))
    assert [name for name in (*keys_of(""), *map(str, codes)) if f"`{name}`" not in text] == []
