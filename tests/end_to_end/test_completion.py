"""Tab in a real bash and a real zsh, by the line in `sweeps/README.md`: options, files, keys, fields and choices."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE = 'eval "$(activate-global-python-argcomplete --dest=-)"'
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], LINE),
    "zsh": (
        ["zsh", "-f", "-i"],
        f"unsetopt beep zle_bracketed_paste; autoload -Uz compinit && compinit -D -u && {LINE}",
    ),
}
FILE = "python -m platform.sweep sweeps/spectran_taylor.yaml"

Type = Callable[[str, str], str]


@pytest.fixture(params=SHELLS)
def typed(request: pytest.FixtureRequest) -> Iterator[Type]:
    """Type into a shell on a terminal until it shows a text, for all that it shows; the line is then thrown away."""
    command, setup = SHELLS[request.param]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} on this machine")
    own, others = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "HISTFILE": "/dev/null", "PS1": "> "}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    shell = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=others, stdout=others, stderr=others, start_new_session=True
    )

    def until(text: str) -> str:
        shown, deadline = "", time.monotonic() + 30
        while text not in shown and time.monotonic() < deadline:
            if select.select([own], [], [], 0.1)[0]:
                shown += os.read(own, 65536).decode(errors="replace")
        return shown

    def type_in(text: str, wanted: str) -> str:
        os.write(own, text.encode())
        shown = until(wanted)
        os.write(own, b"\x15")  # Ctrl-U
        return shown

    os.write(own, f"stty columns 200; {setup}; echo rea''dy\n".encode())
    until("ready")
    yield type_in
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
    os.close(own)
    os.close(others)


@pytest.mark.slow
def test_tab_completes_options_files_keys_fields_and_choices(typed: Type) -> None:
    for text, wanted in (
        ("python -m platform.sweep sweeps/spectran_t", "spectran_taylor.yaml"),
        (f"{FILE} --set limits.max_h", "limits.max_hours="),
        (f"{FILE} --set parameters.fit.ep", "parameters.fit.epochs="),
        (f"{FILE} --set parameters.adapter.name=w", "parameters.adapter.name=whitenrec"),
        ("python -m platform.submit sweeps/spectran_taylor.yaml --det", "--detach"),
        ("python -m trainables spectran backbone.name=gr", "backbone.name=gru4rec"),
    ):
        assert wanted in typed(f"{text}\t", wanted), text
