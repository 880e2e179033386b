"""The first line of an exception, and the chain of its causes."""

from collections.abc import Iterator


def first_line(error: BaseException) -> str:
    """The first line that ``error`` says, or its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error``, if there is one, then what it was raised from or while handling, each once."""
    seen: set[int] = set()
    each = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
