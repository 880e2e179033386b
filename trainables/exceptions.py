"""The text of an exception, its first line, and the chain of its causes."""

from collections.abc import Iterator


def text_of(error: BaseException) -> str:
    """The text of ``error``; one that cannot be said gives the error that this raises."""
    try:
        return str(error)
    except Exception as broken:  # by an author's own `__str__`
        return f"(its text raises {type(broken).__name__})"


def first_line(error: BaseException) -> str:
    """The first line that ``error`` says, or its class where it says nothing."""
    return next(iter(text_of(error).strip().splitlines()), type(error).__name__)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error``, if there is one, then what it was raised from or while handling, each once."""
    seen: set[int] = set()
    each = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
