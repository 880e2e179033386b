"""The loss of Ray's head is reported once, after patience, and never while the head answers."""

import socket
import threading
import time

import pytest

from platform.runners import watchdog


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.3)
    monkeypatch.setattr(watchdog, "_LOOK_S", 0.05)


@pytest.fixture
def head():
    """Somebody who listens; closing it makes the head be gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address(head: socket.socket) -> str:
    return f"127.0.0.1:{head.getsockname()[1]}"


def test_a_head_that_answers_is_not_gone_and_one_that_does_not_is_told_once_after_patience(head):
    gone: list[float] = []
    told = threading.Event()

    def on_head_lost() -> None:
        gone.append(time.monotonic())
        told.set()

    with watchdog.watch_head(address(head), on_head_lost):
        time.sleep(0.5)
        assert gone == []
        closed = time.monotonic()
        head.close()
        assert told.wait(10)
        time.sleep(0.3)
    assert len(gone) == 1
    assert gone[0] - closed >= 0.2


def test_a_head_that_is_back_in_time_is_not_gone(head):
    gone: list[int] = []
    port = head.getsockname()[1]
    with watchdog.watch_head(address(head), lambda: gone.append(1)):
        head.close()
        time.sleep(0.15)
        with socket.create_server(("127.0.0.1", port)):
            time.sleep(0.5)
            assert gone == []


def test_nothing_is_told_after_the_end(head):
    gone: list[int] = []
    with watchdog.watch_head(address(head), lambda: gone.append(1)):
        pass
    head.close()
    time.sleep(0.5)
    assert gone == []


def test_what_is_no_host_and_port_is_taken_to_answer():
    assert watchdog.is_listening("auto", 0.1)
    assert not watchdog.is_listening("127.0.0.1:1", 0.5)
