"""Thirty users on one ring of twelve items: counting transitions is right each time, if the order is."""

import random
from pathlib import Path

ITEMS, USERS, STEPS = 12, 30, 8


def ring(root: Path, name: str, *, time: str = "timestamp", untimed: int = 0, untitled: tuple[int, ...] = ()) -> None:
    """Write the data set ``name``, its lines in no order.

    Args:
        root: the folder of data sets.
        name: of the new one.
        time: name of the column of times.
        untimed: how many lines have no time.
        untitled: items whose title is empty.
    """
    lines = [
        (f"u{user:02}", f"B{(user * 7 + step) % ITEMS:09}", str(1_400_000_000 + 86_400 * step + user))
        for user in range(USERS)
        for step in range(STEPS)
    ]
    random.Random(0).shuffle(lines)
    rows = [f"{user}\t{item}\t5.0\t{when if n >= untimed else ''}" for n, (user, item, when) in enumerate(lines)]
    titles = [f"B{item:09}\t{'' if item in untitled else f'Widget number{item} blue'}" for item in range(ITEMS)]
    folder = root / name
    folder.mkdir(parents=True)
    head = f"user_id:token\titem_id:token\trating:float\t{time}:float"
    (folder / f"{name}.inter").write_text("\n".join([head, *rows, ""]))
    (folder / f"{name}.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *titles, ""]))
