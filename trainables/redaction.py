"""Redaction of secrets in all text for a log, a screen, an artifact or a tracking server.

Hidden are user and password in URLs, values named like a secret (``api_key=...``, ``"token": "..."``) and bearer
tokens. The values of environment variables and settings that are named like a secret are hidden wherever they stand.
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"

_SHORTEST = 6  # of what is hidden wherever it stands: shorter values are words such as `true`
_WORDS = r"(?:token|password|passwd|secret|api_?key|access_?key|secret_?key|private_?key|credentials?)"
_NAME = re.compile(rf"(?:.*[._-])?{_WORDS}", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^\s/'\"<>]*@")
_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/]+)@")
_BEARER = re.compile(r"(?<=\bBearer )[^\s'\"]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""(?<![A-Za-z0-9])((?:[\w.-]*[._-])?{_WORDS}["']?\s*[=:]\s*["']?)(?![0-9.]+\b|\*)[^\s&"',;}}\])]{{4,}}""",
    re.IGNORECASE,
)

_remembered: set[str] = set()
"""Secrets that settings hold, of all trials that this process has seen."""


def redact(text: str) -> str:
    """``text`` with ``***`` where it holds a secret, and escaped where it is no UTF-8 or a database refuses it."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    for value in sorted(_remembered | _environment(), key=len, reverse=True):  # the longest first
        text = text.replace(value, HIDDEN)
    text = _IN_URL.sub(f"{HIDDEN}@", text)
    text = _BEARER.sub(HIDDEN, text)
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text)


def redact_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values by name, with ``***`` for text that is named like a secret, or holds one."""
    return {
        name: value if not isinstance(value, str) else HIDDEN if is_secret(name) and value else redact(value)
        for name, value in values.items()
    }


def remember(values: Mapping[str, Any]) -> None:
    """Hide from here on, in this process, what ``values`` holds as text under a name that says secret."""
    _remembered.update(
        value
        for name, value in values.items()
        if isinstance(value, str) and is_secret(name) and len(value) >= _SHORTEST
    )


def remembered() -> list[str]:
    """The secrets of settings that this process has seen, for a process that it starts."""
    return sorted(_remembered)


def take_over(secrets: Iterable[str]) -> None:
    """Hide what another process has :func:`remembered`."""
    _remembered.update(secrets)


def is_secret(name: str) -> bool:
    """True if ``name`` (of a variable, or a dotted parameter) says that its value is a secret: ``llm.api_key``."""
    return _NAME.fullmatch(name) is not None


def _environment() -> set[str]:
    """Secrets in environment variables; a URL's password is one, decoded or not."""
    found = {value for name, value in os.environ.items() if is_secret(name)}
    for value in os.environ.values():
        for password in _PASSWORD.findall(value):
            found |= {password, unquote(password)}
    return {value for value in found if len(value) >= _SHORTEST}
