"""Meaning of errors of the MLflow store: it cannot be reached now, or it, or something before it, refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from trainables.exceptions import causes, first_line
from trainables.redaction import redact

_SHOWN = 300  # characters of a server's answer, which may be a page


def is_unavailable(error: BaseException | None) -> bool:
    """True if the store could not be reached, or gave no answer in time: no other request fares better now."""
    from requests import exceptions
    from sqlalchemy.exc import OperationalError

    no_answer = (ConnectionError, TimeoutError, exceptions.ConnectionError, exceptions.Timeout, exceptions.RetryError)
    for cause in causes(error):
        if isinstance(cause, OperationalError):
            file = cause.orig if isinstance(cause.orig, sqlite3.Error) else None
            return file is None or file.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        if isinstance(cause, no_answer):
            return True
    return False


def user_message(error: Exception) -> str:
    """The sentence for the user about the store, with the remedy if there is one."""
    if is_unavailable(error):
        said = _said_by_server(error)  # such as that it does not know this user
        return f"does not answer ({_shown(said)})" if said else "does not answer"
    return f"refuses ({_shown(error)}); {_remedy(error)}"


@contextmanager
def left_out_if_too_large(path: Path, notify: Callable[[str], None]) -> Iterator[None]:
    """Go on without a file that is larger than a server on the way to MLflow takes, and say so."""
    from requests import HTTPError

    try:
        yield
    except HTTPError as error:
        if error.response is None or error.response.status_code != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise
        size = path.stat().st_size
        rule = f"must be within what the server before MLflow takes, but {size} bytes are not (413)"
        notify(f"{path} {rule}; raise its client_max_body_size, or log the file by hand")


def _shown(error: BaseException) -> str:
    return redact(first_line(error))[:_SHOWN]


def _said_by_server(error: Exception) -> BaseException | None:
    """The error of a database's driver under SQLAlchemy's; None for a file, which is just locked."""
    from sqlalchemy.exc import OperationalError

    raised = next((cause.orig for cause in causes(error) if isinstance(cause, OperationalError)), None)
    return None if isinstance(raised, sqlite3.Error) else raised


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "install the project again, with what it needs"
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException) and error.get_http_status_code() in (401, 403):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of a user who may write"
    return "fix the cause, sweep.log has the details"
