"""Hosts with addresses of their own, which are network namespaces on one bridge."""

import itertools
import os
import string
import subprocess

NET = "10.213.77"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


_LETTERS = itertools.cycle(string.ascii_lowercase)


class Hosts:
    """Namespaces `<prefix>head`, `<prefix>one`, `<prefix>two` with addresses NET.1 to NET.3; this host is NET.4."""

    def __init__(self) -> None:
        self.prefix = f"t{os.getpid() % 100000}{next(_LETTERS)}-"  # of its own: what a test leaves is in no other's way
        self.bridge = f"{self.prefix}net"
        self.names = {name: f"{self.prefix}{name}" for name in ("head", "one", "two")}
        ip("netns", "add", self.bridge)
        ip("-n", self.bridge, "link", "add", "name", "br0", "type", "bridge")
        ip("-n", self.bridge, "link", "set", "br0", "up")
        for number, (name, space) in enumerate(self.names.items(), 1):
            ip("netns", "add", space)
            ip("-n", self.bridge, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", space, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                ip("-n", space, "link", "set", link, "up")
            ip("-n", space, "route", "add", "default", "dev", "eth0")
            self._join(name)
        here = f"{self.prefix}up"
        ip("link", "add", "name", here, "type", "veth", "peer", "name", "here", "netns", self.bridge)
        ip("addr", "add", f"{NET}.4/24", "dev", here)
        ip("link", "set", here, "up")
        self._join("here")

    def _join(self, link: str) -> None:
        ip("-n", self.bridge, "link", "set", link, "master", "br0")
        ip("-n", self.bridge, "link", "set", link, "up")

    def on(self, name: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.names[name])

    def link(self, name: str, state: str) -> None:
        ip("-n", self.bridge, "link", "set", name, state)

    def end(self) -> None:
        for space in (*self.names.values(), self.bridge):
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)
