"""Access to a cluster: its token, and a job server that answers, takes the token and runs our Ray."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platform.errors import InvalidSweep

_ANSWER_S = 10


@dataclass(frozen=True)
class Token:
    """A cluster's token and where it was found; never shown."""

    value: str
    source: str

    def __repr__(self) -> str:
        return f"Token(from {self.source})"


def find_token(environment: Mapping[str, str] = os.environ) -> Token | None:
    """The token for Ray's job server: `$RAY_AUTH_TOKEN`, the file `$RAY_AUTH_TOKEN_PATH`, `~/.ray/auth_token`.

    Raises:
        InvalidSweep: `$RAY_AUTH_TOKEN_PATH` names a file that cannot be read.
    """
    if value := environment.get("RAY_AUTH_TOKEN", "").strip():
        return Token(value, "$RAY_AUTH_TOKEN")
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        value = path.read_text().strip()
    except OSError as error:
        if named:
            raise _invalid(
                f"must name a file that holds the token, but {named} gave {error.strerror!r}; correct it",
                "RAY_AUTH_TOKEN_PATH",
            ) from None
        return None
    return Token(value, str(path)) if value else None


def headers(address: str) -> dict[str, str]:
    """Headers of every request to the job server at `http(s)://host:port`, once one was answered as it must be.

    Raises:
        InvalidSweep: no valid address, no answer, a missing or wrong token, or another version of Ray.
    """
    if not re.fullmatch(r"https?://[^/]+", address):
        raise _invalid(
            f"must be http://host:port of the cluster's job server, but got {address!r}; the port is 8265 by default"
        )
    token = find_token()
    carried = {"Authorization": f"Bearer {token.value}"} if token else {}
    theirs, ours = _version(address, token, carried), importlib.metadata.version("ray")
    if theirs != ours:
        raise _invalid(
            f"the cluster must run Ray {ours} as this machine does, but {address} runs {theirs}; install one on both "
            "(infra/constraints.txt)"
        )
    return carried


def _version(address: str, token: Token | None, carried: dict[str, str]) -> str:
    request = urllib.request.Request(f"{address}/api/version", headers=carried)
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as reply:
            return str(json.load(reply)["ray_version"])
    except urllib.error.HTTPError as error:
        if error.code == 401:
            raise _invalid(
                f"{address} must be given its token, but $RAY_AUTH_TOKEN, $RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token "
                "hold none; `ray get-auth-token` on the head prints it, save it in ~/.ray/auth_token"
            ) from None
        if error.code == 403:
            raise _invalid(
                f"{address} must be given its own token, but it refuses the one of {token.source if token else None}; "
                "`ray get-auth-token` on the head prints the right one"
            ) from None
        detail = f"HTTP {error.code}"
    except (OSError, ValueError, KeyError) as error:
        detail = str(getattr(error, "reason", error))
    raise _invalid(
        f"must be the job server of a Ray cluster, but {address} gave {detail!r}; start the cluster, or correct the "
        "address"
    )


def _invalid(text: str, where: str = "--address") -> InvalidSweep:
    return InvalidSweep([f"{where}: {text}"])
