"""The image of `infra/docker/Dockerfile`, built and run without Docker; it takes minutes: python -m pytest -m by_hand

Its base is Debian with Python under the name that the Dockerfile gives. The packages are those of this machine's pip.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.infra import ROOT

pytestmark = [
    pytest.mark.by_hand,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("buildah", "debootstrap"))),
        reason="needs root, buildah and debootstrap",
    ),
]
OF_BASE = "python3,python3-venv,python-is-python3,ca-certificates"
PIP = "[global]\nno-index = true\nfind-links = /wheels\n"
SECRET = "of-the-ray-token"
ON_HEAD = """
cp -r /app /tmp/app && cd /tmp/app && git init -q && git add .
git -c user.name=t -c user.email=t@example.org commit -q -m all
ray start --head --num-cpus=2 --disable-usage-stats --block > /tmp/head.log 2>&1 &
trap "kill $!; wait" EXIT
until python -c "import socket; socket.create_connection(('127.0.0.1', 8265), 5)" 2> /dev/null; do sleep 0.5; done
python -m platform.submit sweeps/spectran_taylor.yaml --address http://127.0.0.1:8265 --set num_trials=1 \
    --set name=sent
"""


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def buildah() -> Iterator[Callable[..., str]]:
    """Call with buildah's arguments; what it makes goes with the test."""
    folder = Path(os.environ["SWEEP_SCRATCH"]) / "image"
    storage = ("--storage-driver", "vfs", "--root", str(folder / "images"), "--runroot", str(folder / "run"))
    folder.mkdir()
    yield lambda *arguments, cwd=ROOT: run("buildah", *storage, *arguments, cwd=cwd)
    run("buildah", *storage, "rm", "--all")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that pip installs in the image, and its configuration."""
    folder = tmp_path_factory.mktemp("wheels")
    folder.chmod(0o755)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for name in ("postgres", "s3") for each in project["optional-dependencies"][name]]
    pinned = ("-c", "infra/constraints.txt", *project["dependencies"], *extras)
    for names in (pinned, ("hatchling", "editables")):
        run(sys.executable, "-m", "pip", "wheel", "-q", "-w", str(folder), *names)
    (folder / "pip.conf").write_text(PIP)
    return folder


@pytest.fixture(scope="module")
def inside(buildah, wheels, checkout, tmp_path_factory) -> Callable[..., str]:
    """Call with a command for what it prints in the image."""
    base = tmp_path_factory.mktemp("base")
    version, release = re.findall(r"^FROM (python:(\S+)-slim)$", (ROOT / "infra/docker/Dockerfile").read_text(), re.M)[
        0
    ]
    run("debootstrap", "--variant=minbase", f"--include={OF_BASE}", "bookworm", str(base / "root"))
    assert f"Python {release}." in run("chroot", str(base / "root"), "python", "--version")
    container = buildah("from", "scratch")
    buildah("add", container, str(base / "root"), "/")
    buildah("commit", "--rm", container, version)
    shutil.rmtree(base / "root")
    (checkout / "infra" / "docker" / "secrets").mkdir()
    (checkout / "infra" / "docker" / "secrets" / "ray_token").write_text(SECRET)
    mounts = (f"--volume={wheels}:/wheels:ro", f"--volume={wheels}/pip.conf:/etc/pip.conf:ro")
    made = ("--build-arg", "SWEEP_GIT_COMMIT=abc", "-f", "infra/docker/Dockerfile", "-t", "sweeps", ".")
    buildah("bud", "--isolation", "chroot", *mounts, *made, cwd=checkout)
    container = buildah("from", "sweeps")
    return lambda *command: buildah("run", "--isolation", "chroot", container, "--", *command)


def test_the_image_is_of_its_user_and_holds_neither_history_nor_secrets(inside, buildah):
    assert inside("id", "-u") == "1000"
    assert inside("printenv", "SWEEP_GIT_COMMIT") == "abc"
    assert inside("ls", "-A", "/app").split() == [
        "README.md",
        "infra",
        "platform",
        "pyproject.toml",
        "sweeps",
        "trainables",
    ]
    assert not inside("find", "/app", "/home", "-name", ".git", "-o", "-name", "secrets", "-path", "*docker*")
    assert not inside("sh", "-c", f"grep -rl {SECRET} /app /home/sweeps || true")
    size = int(inside("sh", "-c", "du -sxm / 2> /dev/null | cut -f 1 || true"))
    print(f"the image has {size} MiB")
    assert size < 12 * 1024


def test_ray_is_on_the_path_of_a_login_shell(inside):
    assert inside("bash", "--login", "-c", "-i", "which ray") == "/home/sweeps/venv/bin/ray"


def test_a_sweep_is_checked_and_runs(inside):
    file = "sweeps/spectran_taylor.yaml"
    inside("python", "-m", "platform.sweep", file, "--check")
    out = inside("python", "-m", "platform.sweep", file, "--address", "inline", "--set", "num_trials=1")
    assert "spectran-taylor: 1 complete" in out


def test_a_head_takes_a_submit_from_inside(inside):
    assert "sent: 1 complete" in inside("env", "RAY_AUTH_TOKEN=" + 64 * "a", "bash", "-c", ON_HEAD)
