"""Messages: the facts of `--status`, to a program and to a server; a bad receiver costs the sweep nothing."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from platform.analysis import notify
from platform.analysis.notify import Notifier


@pytest.fixture
def receiver() -> Iterator[Callable[..., SimpleNamespace]]:
    """Call with a status and seconds of silence for a server: its `url`, and the messages that it `got`."""
    servers: list[ThreadingHTTPServer] = []
    end = threading.Event()

    def start(status: int = 200, silent_s: float = 0.0) -> SimpleNamespace:
        got: list[dict] = []

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                end.wait(silent_s)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments: object) -> None: ...

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return SimpleNamespace(url=f"http://127.0.0.1:{servers[-1].server_port}/hook", got=got)

    yield start
    end.set()
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.fixture
def notifier(sweep) -> Callable[..., tuple[Notifier, list[str]]]:
    """Call with what `notify` says for a notifier, and for what it tells the user."""

    def make(**said: object) -> tuple[Notifier, list[str]]:
        here = sweep(f"notify={json.dumps(said)}")
        told: list[str] = []
        return Notifier(here.spec, here.space, here.folder, told.append), told

    return make


def test_a_server_and_a_program_get_the_facts_without_secrets(notifier, receiver, write_trial, sweep, tmp_path):
    folder = sweep().folder
    write_trial(folder, 0, {"x": 0.5, "width": 32}, [0.4])
    write_trial(folder, 1, {"x": 0.25, "width": 32}, [0.5, 0.6], state=None)
    server = receiver()
    told, said = notifier(url=server.url, command=f"tee {tmp_path}/message.json")
    told.tell("failure", "trial 3 failed: password=hunter2")
    told.finish()
    assert said == []
    (message,) = server.got
    assert json.loads((tmp_path / "message.json").read_text()) == message
    assert (message["event"], message["sweep"], message["due"]) == ("failure", "curve", 6)
    assert "hunter2" not in json.dumps(message)
    assert message["trials"] == {"complete": 1, "interrupted": 1}
    assert message["best"]["value"] == 0.4
    assert [(each["trial"], each["reports"], each["value"]) for each in message["running"]] == [(1, 2, 0.6)]


def test_events_that_nobody_asked_for_or_that_come_too_often_are_not_sent(notifier, receiver):
    server = receiver()
    told, _ = notifier(url=server.url, on=["failure", "end"])
    for event in ("waiting", "failure", "failure", "end"):
        told.tell(event, "")
    told.finish()
    assert sorted(message["event"] for message in server.got) == ["end", "failure"]


def test_a_receiver_that_fails_or_is_not_there_is_told_and_nothing_else(notifier, receiver):
    told, said = notifier(url=receiver(status=500).url, command="false")
    told.tell("end", "")
    told.finish()
    assert sorted(said) == [
        "notify.command: must take the message of 'end', but did not: exit code 1",
        "notify.url: must take the message of 'end', but did not: HTTP Error 500: Internal Server Error",
    ]


def test_a_server_that_hangs_holds_the_end_up_for_a_while_only(notifier, receiver, monkeypatch):
    monkeypatch.setattr(notify, "_LIMIT_S", 0.5)
    told, said = notifier(url=receiver(silent_s=60).url)
    before = time.monotonic()
    told.tell("end", "")
    told.finish()
    assert time.monotonic() - before < 10
    assert any("notify" in each for each in said)


def test_without_the_key_nothing_is_sent(sweep):
    here = sweep()
    told = Notifier(here.spec, here.space, here.folder, print)
    told.tell("end", "")
    assert told._threads == []
