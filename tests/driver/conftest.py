"""Fixtures of the driver's tests: sweep file, study, ledger, store, server, a line to cut, a sweep to ship."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from platform.errors import InvalidSweep
from platform.runners.ledger import Ledger
from platform.storage.trial_end import State, TrialEnd
from platform.study.study import Study
from platform.sweepfile.spec import load
from platform.tracking.destination import Destination
from platform.tracking.journal import TrialFiles
from platform.tracking.messages import Order
from platform.tracking.shipper import Shipper
from platform.tracking.tracker import Tracker
from tests.conftest import OpenSweep
from tests.driver.ledgers import Ended
from tests.servers import Line, MlflowServer

NO_STOPPING = ("early_stopping=none", "method=random")
TAGS = {"version.torch": "2.13.0", "mlflow.source.git.commit": "abc"}

GOOD = """\
name: a-sweep
trainable: some.trainable
metric: {name: valid/ndcg_20, goal: maximize}
num_trials: 24
early_stopping: {type: asha, min_reports: 4}
parameters:
  data.name: synthetic
  order: {min: 1, max: 5}
  rate: {min: 1e-4, max: 1e-2, log: true}
  dropout: {min: 0.0, max: 0.5, step: 0.1}
  fusion:
    values: [add, null_space]
    when:
      null_space:
        width: {values: [32, 64]}
constraints: ["order <= 3 or dropout >= 0.1"]
initial_points: [{order: 3, dropout: 0.3}]
resources: {cpu: 2, gpu: 0.25, memory: 2GiB, label: {zone: a}}
limits: {max_hours: 8}
"""


class GoodSweep:
    """A sweep file without a fault, to load or to break."""

    text = GOOD

    @staticmethod
    def write(folder: Path, text: str) -> Path:
        path = folder / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def problems(self, folder: Path, text: str, *overrides: str) -> list[str]:
        """The problems of a file, without the folder it is in."""
        with pytest.raises(InvalidSweep) as caught:
            load(self.write(folder, text), overrides)
        assert caught.value.exit_code == 2
        return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]

    @staticmethod
    def replaced(key: str, line: str) -> str:
        """GOOD with the line of a one-line key replaced; an empty `line` removes it."""
        lines = [line if old.startswith(f"{key}:") else old for old in GOOD.splitlines()]
        assert lines != GOOD.splitlines()
        return "\n".join(lines) + "\n"


@pytest.fixture
def server() -> Iterator[Callable[[int, bytes], str]]:
    """Call with a status and a body for the address of a server that answers everything so."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None: ...

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture(scope="session")
def good() -> GoodSweep:
    return GoodSweep()


@pytest.fixture(scope="session")
def server_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real `mlflow server`, which takes seconds to start."""
    folder = tmp_path_factory.mktemp("server")
    server = MlflowServer(f"sqlite:///{folder}/server.db", folder)
    try:
        server.begin()
        yield server.port
    finally:
        server.kill()


@pytest.fixture
def line(server_port: int) -> Iterator[Line]:
    """A whole line to the server."""
    line = Line(server_port)
    line.mend()
    yield line
    line.cut()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for all tests: making its tables takes longer than a test."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


class Sweep:
    """A sweep's folder with shippers over it, in this process or another; `said` is what they told the user."""

    def __init__(self, folder: Path, uri: str, experiment: str) -> None:
        self.folder = folder
        self.uri = uri
        self.experiment = experiment
        self.id = uuid.uuid4().hex
        self.said: list[str] = []
        folder.mkdir(parents=True)
        (folder / "sweep.yaml").write_text("name: curve\n")

    def shipper(self, checkpoints: str = "best", uri: str | None = None, tags: dict[str, str] | None = None) -> Shipper:
        to, tags = self._destination(uri or self.uri, checkpoints), TAGS | (tags or {})
        order = Order(destination=to, sweep="curve", sweep_id=self.id, folder=self.folder, tags=tags)
        return Shipper(order, self.said.append)

    def started(self, *settings: Any, **named: Any) -> Shipper:
        """A shipper that has begun; arguments as above."""
        shipper = self.shipper(*settings, **named)
        shipper.start()
        return shipper

    def tracker(self, uri: str | None = None) -> Tracker:
        return Tracker(self._destination(uri or self.uri), "curve", self.folder, TAGS, self.said.append)

    def _destination(self, uri: str, checkpoints: str = "best") -> Destination:
        return Destination(uri, self.experiment, self.folder.parent / "artifacts", checkpoints)

    def trial(self, number: int, values: dict[str, Any] | None = None) -> TrialFiles:
        files = TrialFiles(self.folder, number)
        files.begin(values or {"x": 0.5, "adapter.name": "none"})
        return files

    @staticmethod
    def report(files: TrialFiles, steps: range, value: float = 0.5) -> None:
        for step in steps:
            files.append(step, {"train/loss": 1 / step, "valid/ndcg_10": value})

    @staticmethod
    def end(files: TrialFiles, state: str = "COMPLETE", reason: str = "finished") -> None:
        files.end(TrialEnd.now(State(state), reason))

    def runs(self) -> tuple[Any, dict[int, Any]]:
        """The one parent and the children by trial number."""
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        runs = client.search_runs([experiment.experiment_id], f"tags.`sweep.id` = '{self.id}'")
        parents = [run for run in runs if "sweep.trial" not in run.data.tags]
        children = [run for run in runs if "sweep.trial" in run.data.tags]
        assert len(parents) == 1
        assert max(Counter(run.data.tags["sweep.trial"] for run in children).values(), default=1) == 1
        return parents[0], {int(run.data.tags["sweep.trial"]): run for run in children}

    def history(self, number: int, metric: str) -> list[tuple[int, float]]:
        """(step, value) as the store has them, each that is there."""
        from mlflow import MlflowClient

        _, children = self.runs()
        history = MlflowClient(self.uri).get_metric_history(children[number].info.run_id, metric)
        return sorted((point.step, point.value) for point in history)

    def artifacts(self, run: Any) -> set[str]:
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        return {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.fixture
def tracked(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Callable[..., Sweep]:
    def make(uri: str = database) -> Sweep:
        return Sweep(tmp_path / "runs" / "curve", uri, request.node.name)

    return make


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Call with a condition, what it is and for how long it may take, in seconds."""
    return wait_until


class Shipped:
    """In place of a tracker: which trials changed."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def changed(self, trial: TrialFiles) -> None:
        self.numbers.append(trial.number)


@pytest.fixture(scope="session")
def opened() -> Callable[[OpenSweep], Study]:
    """Call with what `sweep` gives for its study, as a new driver opens it."""

    def opened(sweep: OpenSweep) -> Study:
        return Study(sweep.spec, sweep.space, sweep.folder)

    return opened


@dataclass(frozen=True, kw_only=True)
class Driver:
    """A driver without a runner: its ledger, and what the ledger wrote, ended and tracked."""

    ledger: Ledger
    study: Study
    folder: Path
    ended: list[Ended]
    shipped: Shipped


@pytest.fixture
def begin(sweep: Callable[..., OpenSweep]) -> Callable[..., Driver]:
    """Call with overrides for a new driver's ledger over the same sweep; `ended` collects what ended."""

    def make(*overrides: str) -> Driver:
        here = sweep(*NO_STOPPING, *overrides)
        study = Study(here.spec, here.space, here.folder)
        ended: list[Ended] = []
        shipped: Any = Shipped()
        end = lambda trial: ended.append(Ended.of(trial))  # noqa: E731
        ledger = Ledger(here.spec, study, here.folder, here.folder.parent / "stages", shipped, end)
        return Driver(ledger=ledger, study=study, folder=here.folder, ended=ended, shipped=shipped)

    return make
