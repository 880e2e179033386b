"""Messages of driver and shipper arrive as they were sent, or not at all."""

from pathlib import Path

import pytest

from platform.tracking.destination import Destination
from platform.tracking.messages import (
    Changed,
    Finish,
    Finished,
    Message,
    Notify,
    Order,
    ParentEnd,
    Shipped,
    decode,
    encode,
)

TO = Destination("sqlite:///mlflow.db", "curve", Path("artifacts"))
END = ParentEnd(status="KILLED", metrics={"best/x": 0.5}, tags={"best.trial": "0"}, files=(Path("a.csv"),), time=1.5)


@pytest.mark.parametrize(
    "message",
    [
        Order(destination=TO, sweep="curve", sweep_id="7", folder=Path("runs"), tags={"a": "b"}, secrets=("key",)),
        Changed(3),
        Finish(END),
        Notify("größe\nand a second line"),
        Shipped(3),
        Finished(True),
    ],
)
def test_a_message_arrives_as_it_was_sent_and_a_torn_one_is_ignored(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message
    assert decode(line[:-1]) is None
    assert decode(b"") is None
