"""A command in a terminal of its own, as a person sees it: the screen, what scrolled off it, and its keys."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

CTRL_C = b"\x03"


class Terminal:
    """A command in a pseudo-terminal.

    Args:
        command: its words.
        columns: of the terminal.
        lines: of the terminal.
        folder: where it runs.
    """

    def __init__(self, command: list[str], columns: int, lines: int, folder: Path) -> None:
        self._screen = pyte.HistoryScreen(columns, lines, history=5000)
        self._stream = pyte.ByteStream(self._screen)
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.chdir(folder)
            os.execvpe(command[0], command, os.environ)  # readline sets sizes where only C sees them

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._terminal, keys)

    def until(self, seen: Callable[[str], bool], seconds: float = 90) -> str:
        """The text of the screen as soon as it is as asked for."""
        deadline = time.monotonic() + seconds
        while not seen(self.text()):
            assert time.monotonic() < deadline, self.text()
            assert self._read(), self.text()
        return self.text()

    def end(self, seconds: float = 90) -> tuple[int, str]:
        """The exit code of the command, and all that it left on the screen and above."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.text()
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.text()

    def text(self) -> str:
        """All that stands on the screen or has scrolled off it."""
        above = [
            "".join(line[column].data for column in range(self._screen.columns)) for line in self._screen.history.top
        ]
        return "\n".join(line.rstrip() for line in [*above, *self._screen.display]).rstrip()

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._terminal, 2**16)
        except OSError:  # the command has ended
            return False
        self._stream.feed(data)
        return bool(data)
