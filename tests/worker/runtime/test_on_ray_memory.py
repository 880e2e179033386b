"""Memory that a trial's thread freed goes back to the system."""

import threading

import psutil
import pytest

import platform
from trainables.runtime import on_ray

MIB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory in arenas of threads")
def test_freed_memory_goes_back_to_the_system():
    held = []

    def trial():
        blocks = [b"x" * 60_000 for _ in range(2_000)]
        held.append(b"x" * 60_000)  # at the top of the arena, so that nothing below it is given back by itself
        blocks.clear()

    thread = threading.Thread(target=trial)
    thread.start()
    thread.join()
    before = psutil.Process().memory_info().rss
    on_ray._give_memory_back()
    assert (before - psutil.Process().memory_info().rss) / MIB > 80
