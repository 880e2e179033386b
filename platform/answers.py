"""What an error of the MLflow store means: it cannot be reached now, or it, or something before it, refuses."""

from __future__ import annotations

import sqlite3


def is_silent(error: BaseException | None) -> bool:
    """Whether the store could not be reached, or gave no answer in time: no other request fares better now."""
    from requests import exceptions
    from sqlalchemy.exc import OperationalError

    no_answer = (ConnectionError, TimeoutError, exceptions.ConnectionError, exceptions.Timeout, exceptions.RetryError)
    while error is not None:
        if isinstance(error, OperationalError):
            file = error.orig if isinstance(error.orig, sqlite3.Error) else None
            return file is None or file.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        if isinstance(error, no_answer):
            return True
        error = error.__cause__ or error.__context__
    return False
