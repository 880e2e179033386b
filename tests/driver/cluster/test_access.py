"""A cluster's token is found and never shown; what does not answer as it must is refused."""

import socket
from pathlib import Path

import pytest

from platform.cluster import access
from platform.errors import InvalidSweep

SECRET = "secret-0123456789"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def write_home_token(home: Path, text: str = f"{SECRET}\n") -> Path:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(text)
    return home / ".ray" / "auth_token"


def test_the_token_is_looked_for_where_ray_does_in_that_order(tmp_path):
    assert access.find_token({}) is None
    home = write_home_token(tmp_path)
    (tmp_path / "named").write_text("named")
    named = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "named")}
    assert access.find_token({}) == access.Token(SECRET, str(home))
    assert access.find_token(named) == access.Token("named", str(tmp_path / "named"))
    assert access.find_token({**named, "RAY_AUTH_TOKEN": "direct"}) == access.Token("direct", "$RAY_AUTH_TOKEN")


def test_a_token_never_shows_itself():
    assert SECRET not in repr(access.Token(SECRET, "$RAY_AUTH_TOKEN"))
    assert SECRET not in f"{access.Token(SECRET, '$RAY_AUTH_TOKEN')}"


def test_an_empty_token_file_is_none(tmp_path):
    write_home_token(tmp_path, "\n")
    assert access.find_token({}) is None


def test_a_named_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidSweep, match=r"RAY_AUTH_TOKEN_PATH: must name a file .* gave 'No such file"):
        access.find_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "gone")})


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "http://head:8265/jobs"])
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(InvalidSweep, match=f"must be http://host:port .*, but got {address!r}; the port is 8265"):
        access.headers(address)


def test_an_address_where_nothing_listens_is_refused():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(InvalidSweep, match=f"must be the job server .* but {address} gave .*refused.*; start the"):
            access.headers(address)


def test_another_version_of_ray_is_refused(server):
    address = server(200, b'{"ray_version": "2.9.3"}')
    with pytest.raises(
        InvalidSweep, match=rf"must run Ray 2\.60\.\d as this machine does, but {address} runs 2\.9\.3;"
    ):
        access.headers(address)


@pytest.mark.parametrize(("status", "body", "got"), [(200, b"<html>", "Expecting value"), (503, b"", "HTTP 503")])
def test_a_server_that_is_no_job_server_is_refused(server, status, body, got):
    with pytest.raises(InvalidSweep, match=f"must be the job server of a Ray cluster, but .* gave .*{got}"):
        access.headers(server(status, body))


def test_a_missing_and_a_wrong_token_are_told_apart_and_where_to_get_it(server, tmp_path):
    with pytest.raises(
        InvalidSweep, match=r"must be given its token, but .* hold none; `ray get-auth-token` on the head"
    ):
        access.headers(server(401, b"no token"))
    home = write_home_token(tmp_path)
    with pytest.raises(InvalidSweep, match=f"it refuses the one of {home}; `ray get-auth-token`") as caught:
        access.headers(server(403, b"wrong token"))
    assert SECRET not in str(caught.value)
