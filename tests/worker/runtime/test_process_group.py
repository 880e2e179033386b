"""The store over which ranks meet, and the interface by which they talk."""

import os

import psutil
import pytest

from trainables.runtime.process_group import LOOPBACK, interface_of, open_store


def test_the_store_listens_on_the_named_address_alone():
    before = listening()
    store = open_store()
    assert {address for address, port in listening() - before if port == store.port} == {LOOPBACK}
    del store
    assert listening() <= before


def listening() -> set[tuple[str, int]]:
    found = psutil.Process(os.getpid()).net_connections("tcp")
    return {(each.laddr.ip, each.laddr.port) for each in found if each.status == psutil.CONN_LISTEN}


def test_the_interface_is_the_one_with_the_address_unless_one_is_named(monkeypatch):
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert interface_of(LOOPBACK) == "lo"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "fabric0")
    assert interface_of(LOOPBACK) == "fabric0"


def test_an_address_on_no_interface_is_refused_with_those_there_are(monkeypatch):
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    with pytest.raises(
        ValueError, match=r"a network interface, but 203\.0\.113\.9 is on none of .*lo.*; set GLOO_SOCKET_IFNAME on"
    ):
        interface_of("203.0.113.9")
