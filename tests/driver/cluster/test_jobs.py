"""A connection to the job server that breaks is taken up again, or told in one sentence."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from aiohttp import web

from platform.cluster import jobs
from platform.submit import main

SAID = "one\ntwo\nthree\n"


class JobServer:
    """A job server with the job `curve-1`, which answers Ray's own client; where it is silent, it hangs up."""

    def __init__(self) -> None:
        self.silent = 0
        """Number of next requests on jobs without an answer."""
        self.cut: int | None = None
        """After how many characters the next log that is followed breaks off."""
        self.status = "RUNNING"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.address = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_get("/api/jobs/curve-1/logs/tail", self._tail)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return "http://{}:{}".format(*self._runner.addresses[0])

    async def _answer(self, request: web.Request) -> web.Response:
        if self.silent and "/jobs/" in request.path:
            self.silent -= 1
            assert request.transport is not None
            request.transport.abort()
        job: Any = {"type": "SUBMISSION", "submission_id": "curve-1", "status": self.status, "entrypoint": "sweep"}
        job |= {"metadata": {"sweep": "curve"}, "driver_exit_code": 0}
        answers = {"/api/version": {"ray_version": ray.__version__}, "/api/jobs/": [job], "/api/jobs/curve-1": job}
        return web.json_response(answers.get(request.path, {"logs": SAID}))

    async def _tail(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        cut, self.cut = self.cut, None
        await socket.send_str(SAID[:cut])
        if cut:
            self.silent = 2
            assert request.transport is not None
            request.transport.abort()
        self.status = "RUNNING" if cut else "SUCCEEDED"
        return socket


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobServer]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jobs, "_POLL_S", 0.05)
    server = JobServer()
    yield server
    server.end()


def test_a_log_that_breaks_off_is_gone_on_with_and_nothing_of_it_written_twice(server):
    server.cut = len("one\ntwo")
    written: list[str] = []
    assert jobs.follow(jobs.connect(server.address), "curve-1", written.append) == 0
    assert "".join(written) == SAID
    assert server.silent == 0


def test_a_job_server_that_stays_silent_is_followed_for_a_while(server, monkeypatch):
    monkeypatch.setattr(jobs, "SILENT_S", 0.5)
    client = jobs.connect(server.address)
    server.silent = 1000
    with pytest.raises(jobs.NoAnswer, match=r"the job server must answer, but got .*; a sweep that runs there goes on"):
        jobs.follow(client, "curve-1", lambda text: None)
    assert 3 < 1000 - server.silent < 20


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: jobs.of_sweep(client, "curve"),
        lambda client: jobs.submit(client, "curve", "true", {}, Path("tree.zip")),
        lambda client: jobs.logs(client, "curve-1"),
        lambda client: jobs.stop(client, "curve-1"),
        lambda client: jobs.run(client, "probe-1", "true", {}, 1.0),
    ],
    ids=["of_sweep", "submit", "logs", "stop", "run"],
)
def test_a_request_without_an_answer_is_told_in_one_sentence(server, ask: Callable[[Any], Any]):
    client = jobs.connect(server.address)
    server.silent = 1
    with pytest.raises(jobs.NoAnswer, match=r"the job server must answer, but got .*see `--status`$"):
        ask(client)


@pytest.mark.parametrize("option", ["--status", "--stop"])
def test_the_command_ends_with_that_sentence(server, curve_file, capsys, option):
    server.silent = 1
    assert main([str(curve_file), "--address", server.address, option]) == 1
    assert capsys.readouterr().err.startswith("the job server must answer, but got ")
