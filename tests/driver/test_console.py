"""The terminal: only our words on it, all else in the log; signals as an exception."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform.console import Interrupted, Signals

ROOT = Path(__file__).parents[2]

NOISY = """
import logging, os, sys, warnings
from pathlib import Path
from typing import Any
from platform.console import clean_screen

with clean_screen(Path(sys.argv[1])) as console:
    print("printed")
    sys.stderr.write("complained\\n")
    os.system("echo from a child; echo and worse >&2")
    logging.getLogger("ray.tune").warning("logged")
    warnings.warn("warned")
    console.print("[bold]ours[/bold]")
print("after")
sys.stderr.write("after too\\n")
logging.getLogger("ray.tune").info("not logged any more")
"""


def test_only_our_words_reach_the_screen_and_all_else_the_log(tmp_path):
    log = tmp_path / "sweep.log"
    done = subprocess.run([sys.executable, "-c", NOISY, log], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "ours\nafter\n"
    assert done.stderr == "after too\n"
    kept = log.read_text()
    for words in ("printed", "complained", "from a child", "and worse", "WARNING ray.tune: logged", "warned"):
        assert words in kept
    assert "not logged any more" not in kept


def test_the_log_is_added_to(tmp_path):
    log = tmp_path / "sweep.log"
    log.write_text("an earlier run\n")
    subprocess.run([sys.executable, "-c", NOISY, log], cwd=ROOT, capture_output=True, check=True)
    assert log.read_text().startswith("an earlier run\n")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_becomes_an_exception_once_and_the_handlers_come_back(signum, code):
    before = signal.getsignal(signum)
    with Signals():
        with pytest.raises(Interrupted, match=signal.Signals(signum).name) as end:
            os.kill(os.getpid(), signum)
        assert end.value.exit_code == code
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), each)  # the way out is not cut
    assert signal.getsignal(signum) == before


def test_an_interrupt_is_not_caught_as_an_error():
    assert not issubclass(Interrupted, Exception)


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_is_deferred_is_raised_where_it_is_asked_for_and_a_second_one_at_once():
    with Signals() as signals:
        signals.check()
        signals.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            signals.check()
    with Signals() as signals:
        signals.defer()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_signals_are_raised_at_once_again_after_they_were_deferred_and_each_once():
    with Signals() as signals:
        signals.defer()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            signals.resume()
        signals.check()
        signals.resume()
    with Signals() as signals:
        signals.defer()
        signals.resume()
        with pytest.raises(Interrupted, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)


class CutOff(io.BytesIO):
    """A file during whose second write a signal comes."""

    def write(self, data: Any) -> int:
        if self.tell():
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(data)


def test_a_signal_that_compiled_code_made_an_error_of_its_own_is_raised_where_it_is_asked_for():
    import torch

    with Signals() as signals:
        with pytest.raises(RuntimeError):
            torch.save({"weights": torch.zeros(3)}, CutOff())
        with pytest.raises(Interrupted, match="SIGINT"):
            signals.check()
        signals.defer()
        signals.resume()  # it was heard


def test_handlers_that_another_replaced_can_be_put_back():
    with Signals() as signals:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signals.install()
        with pytest.raises(Interrupted, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_first_ctrl_c_is_answered_at_once_and_the_second_ends_the_process_now():
    code = """
import os, signal, time
from platform.console import Signals

with Signals() as signals:
    signals.announce = lambda: os.write(1, b"stopping ")
    signals.now = lambda: os.write(1, b"now")
    if {deferred}:
        signals.defer()
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        os.kill(os.getpid(), signal.SIGTERM)  # the way out is not cut
    os.kill(os.getpid(), signal.SIGINT)  # the same press, passed on by a wrapper
    os.write(1, b"once ")
    time.sleep(0.6)
    os.kill(os.getpid(), signal.SIGINT)
    os.write(1, b"never")
"""
    for deferred in (False, True):
        command = [sys.executable, "-c", code.format(deferred=deferred)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (130, "stopping once now"), done.stderr
