"""Fixtures of all tests: trainables, sweep files, and the real data where it exists."""

import json
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from platform.space.space import Space
    from platform.sweepfile.spec import SweepSpec

settings.register_profile("sweeps", deadline=None)  # how long an example takes says what the machine else does
settings.load_profile("sweeps")

ROOT = Path(__file__).parents[1]

CURVE = """\
name: curve
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 6
early_stopping: {type: asha, min_reports: 2, reduction_factor: 3}
parameters:
  x: {min: 0.0, max: 1.0}
  width: {values: [16, 32, 64]}
  part.name:
    values: [plain, curved]
    when:
      curved: {part.bend: {min: 1, max: 5}}
constraints: ["x <= 0.95"]
"""

OWN_CONFIG = """
from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least, between

METRICS = ("train/loss", "valid/hr_10", "valid/ndcg_20", "test/hr_10")
CONSTRAINTS = ("shallow + deep <= layers",)


@dataclass(frozen=True, kw_only=True)
class Data:
    name: str = "synthetic"
    rows: Literal["last", "all"] = "last"


@dataclass(frozen=True, kw_only=True)
class Plain:
    name: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Spectral:
    name: Literal["spectral"] = "spectral"
    order: Annotated[int, at_least(1)] = 3
    fusion: Literal["add", "null_space"] = "add"
    width: Annotated[int, at_least(1)] = 8


@dataclass(frozen=True, kw_only=True)
class Fit:
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.1
    rate: Annotated[float, between(0, 1, open_low=True)] = 1e-3


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    dim: int = 64
    heads: int = 2
    layers: int = 6
    shallow: int = 1
    deep: int = 1
    tick: int = 0
    data: Data = Data()
    adapter: Plain | Spectral = Spectral()
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"heads must divide dim, but got heads {self.heads} and dim {self.dim}; change one")


ASKED = []


def check(config):
    ASKED.append((config.data.name, config.data.rows))
    if config.data.name.startswith("missing"):
        return [f"data.name: must be a folder, but {config.data.name} is none; make it"]
    return ["something: else is wrong"] if config.data.name == "odd" else []


def notes(config):
    return ["no line has a time"] if config.data.name == "old" else []
"""

OWN_SWEEP = """\
name: s
trainable: {package}
metric: {{name: valid/hr_10, goal: maximize}}
num_trials: 4
parameters:
"""


@pytest.fixture(autouse=True)
def no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """No word that another test remembered as a secret is hidden in this one."""
    monkeypatch.setattr("trainables.redaction._remembered", set())


@pytest.fixture
def curve_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small sweep of the test trainable `curve`, with a branch and a constraint; its storage is in `tmp_path`."""
    monkeypatch.setenv("SWEEP_STORAGE", str(tmp_path / "runs"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "curve.yaml"
    path.write_text(CURVE)
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; the test skips where it is absent."""
    for folder in (os.environ.get("SWEEP_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "amazon-office-2014").is_dir():
            return Path(folder)
    pytest.skip("no real data: set SWEEP_DATA to a folder that holds amazon-office-2014")


@dataclass(frozen=True, kw_only=True)
class OpenSweep:
    """A sweep that a driver opened."""

    spec: "SweepSpec"
    space: "Space"
    folder: Path
    file: Path


@pytest.fixture
def sweep(curve_file: Path) -> Callable[..., OpenSweep]:
    """Call with overrides (`num_trials=3`) for the spec, the space and the storage folder of the sweep `curve`."""
    from platform.space.check import space_of
    from platform.storage.folder import open_folder
    from platform.sweepfile.spec import load

    def make(*overrides: str) -> OpenSweep:
        spec = load(curve_file, overrides)
        return OpenSweep(spec=spec, space=space_of(spec), folder=open_folder(spec), file=curve_file)

    return make


@pytest.fixture(scope="session")
def write_trial() -> Callable[..., Path]:
    """Call with a sweep's folder, a number, flat values and objective values for a trial as it lies in the storage.

    `test` holds its last metrics, `ranks` those of its test rows (of users 0, 1, ... unless `users` is given); a trial
    of `state` None still runs.
    """
    import numpy as np

    from platform.storage.trial_end import State, TrialEnd
    from platform.tracking.journal import TrialFiles

    def write(
        folder: Path,
        number: int,
        values: dict[str, Any],
        objective: Sequence[float],
        test: dict[str, float] | None = None,
        *,
        name: str = "valid/ndcg_10",
        ranks: Sequence[int] | None = None,
        users: Sequence[int] | None = None,
        tags: dict[str, str] | None = None,
        state: str | None = "COMPLETE",
    ) -> Path:
        files = TrialFiles(folder, number)
        files.begin(values)
        for step, value in enumerate(objective, 1):
            files.append(step, {name: value})
        files.append(len(objective), test or {"test/ndcg_10": 0.5})
        if ranks is not None:
            table = np.empty(len(ranks), dtype=[("user", np.int32), ("rank", np.int32)])
            table["user"], table["rank"] = range(len(ranks)) if users is None else users, ranks
            (files.folder / "artifacts").mkdir()
            np.save(files.folder / "artifacts" / "ranks.npy", table)
        (files.folder / "tags.json").write_text(
            json.dumps({"data.fingerprint": "f00", "data.rows": "r00"} if tags is None else tags)
        )
        if state:
            files.end(TrialEnd(State(state), "finished", 1e9))
        return files.folder

    return write


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A trainable of a user's own, under a name of its own for each test."""
    name = f"own_{abs(hash(request.node.nodeid))}"
    folder = tmp_path / name / "method"
    folder.mkdir(parents=True)
    for file, text in (("config.py", OWN_CONFIG), ("run.py", "def run(config, trial): ...\n"), ("__init__.py", "")):
        (folder / file).write_text(text)
    (folder.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{name}.method"


class Sweeps:
    """Writes sweep files of one trainable and checks them."""

    def __init__(self, folder: Path, package: str) -> None:
        self.path, self.package = folder / "s.yaml", package

    def write(self, parameters: str, rest: str = "", **keys: str) -> Path:
        head = OWN_SWEEP.format(package=self.package)
        for key, value in keys.items():
            head = (
                "\n".join(f"{key}: {value}" if line.startswith(f"{key}:") else line for line in head.splitlines())
                + "\n"
            )
        self.path.write_text(head + textwrap.indent(textwrap.dedent(parameters).strip("\n"), "  ") + "\n" + rest)
        return self.path

    def problems(self, parameters: str, rest: str = "", **keys: str) -> list[str]:
        from platform.errors import InvalidSweep
        from platform.space.check import open_sweep

        with pytest.raises(InvalidSweep) as caught:
            open_sweep(self.write(parameters, rest, **keys))
        return [problem.removeprefix(f"{self.path}:") for problem in caught.value.problems]


@pytest.fixture
def sweeps(tmp_path: Path, package: str) -> Sweeps:
    return Sweeps(tmp_path, package)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Call with MiB, and how many files it takes if that matters, for a folder on a disk of that size; the test skips
    where none may be mounted."""
    folder = tmp_path / "disk"

    def mount(mebibytes: int, files: int = 0) -> Path:
        folder.mkdir()
        size = f"size={mebibytes}m,nr_inodes={files + 1 if files else 0}"  # its root is one, and 0 is no limit
        command = ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no small disk: this user may not mount a tmpfs")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def fill() -> Callable[..., Path]:
    """Call with a folder, and the bytes to leave, for a file that takes all other room on its disk."""

    def fill(folder: Path, leave: int = 0) -> Path:
        found = os.statvfs(folder)
        with (folder / "ballast").open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, found.f_bavail * found.f_frsize - leave))
        return folder / "ballast"

    return fill


@pytest.fixture(scope="session")
def object_server() -> Iterator[str]:
    """The URL of a real S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(object_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket as `s3://name`, reached by the usual variables; copies of its objects lie in `tmp_path`/node."""
    from trainables.storage import objects

    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr(objects, "PATIENCE_S", 2.0)
    name = f"b{uuid.uuid4().hex}"
    objects.client().create_bucket(Bucket=name)
    objects._silent.clear()
    return f"s3://{name}"


@pytest.fixture(autouse=True, scope="session")
def _scratch_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put files of Ray, Slurm's script and `tempfile` in a folder that goes with this run; hide a user's MLflow."""
    tmp_path_factory.getbasetemp()  # pytest's own folder is kept, for who looks into a failure
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))  # short: sockets' paths end after 107 characters
    folder.chmod(0o755)  # PostgreSQL has a user of its own
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_TMPDIR", "TMPDIR", "SWEEP_SCRATCH"):
            patch.setenv(name, str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(tempfile, "tempdir", None)  # it is remembered
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _hangups_arrive() -> Iterator[None]:
    """Under `nohup` SIGHUP is ignored, by what the tests start too; they send it on purpose."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
