"""The interactions of a dump as arrays, in the order in which a data set keeps them."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trainables.data.dumps import Event


@dataclass(frozen=True)
class Log:
    """Interactions grouped by user in ascending order of ids, each user's in order of time, ties in ascending order of
    item ids, what has no time first, in the dump's order; user_N and item_N number the distinct ids."""

    users: list[str]
    items: list[str]
    user_N: np.ndarray
    item_N: np.ndarray
    time_N: np.ndarray
    """Unix seconds; not a number where unknown."""
    rating_N: np.ndarray


def read_log(events: Iterable[Event]) -> Log:
    """Hold all interactions of a dump."""
    users, items = dict[str, int](), dict[str, int]()
    user_N, item_N, time_N, rating_N = array("q"), array("q"), array("d"), array("d")
    for user, item, time, rating in events:
        user_N.append(users.setdefault(user, len(users)))
        item_N.append(items.setdefault(item, len(items)))
        time_N.append(time)
        rating_N.append(rating)
    return _in_order(Log(list(users), list(items), *map(np.array, (user_N, item_N, time_N, rating_N))))


def _in_order(log: Log) -> Log:
    place_U, place_I, unknown_N = _places(log.users), _places(log.items), np.isnan(log.time_N)
    tie_N = np.where(unknown_N, np.arange(len(unknown_N)), place_I[log.item_N])
    order_N = np.lexsort((tie_N, np.where(unknown_N, -np.inf, log.time_N), place_U[log.user_N]))
    columns = (column[order_N] for column in (log.user_N, log.item_N, log.time_N, log.rating_N))
    return Log(log.users, log.items, *columns)


def _places(tokens: list[str]) -> np.ndarray:
    """The place of each token in ascending order."""
    places = np.empty(len(tokens), np.int64)
    places[sorted(range(len(tokens)), key=tokens.__getitem__)] = np.arange(len(tokens))
    return places
