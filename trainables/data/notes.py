"""Notes on a data set: what stops no run, but what a reader of its results must know. No torch, no scikit-learn."""

from trainables.data.checks import FileFacts, file_facts
from trainables.data.config import Data

_RATINGS = ("rating", "ratings", "stars", "score", "overall")


def notes(data: Data) -> list[str]:
    """Say which order counts and what is not read; [] of the built-in data set and of files that are broken."""
    facts = file_facts(data)
    return [] if facts is None or facts.problems else [f"{data.name}: {text}" for text in _of_files(facts)]


def _of_files(facts: FileFacts) -> list[str]:
    told = []
    if facts.untimed == facts.interactions:
        told.append("no line has a timestamp, so the order of the lines is taken as each user's order")
    elif facts.untimed:
        told.append(
            f"{facts.untimed} of {facts.interactions} lines have no timestamp; each user's times ascend where they "
            "stand, so the order of the lines is taken"
        )
    if ratings := [name for name in facts.columns if name.lower() in _RATINGS]:
        told.append(
            f"the column {ratings[0]} is not read, so that every line counts alike; leave low ratings out when the "
            "data are prepared (python -m trainables.data prepare --min-rating)"
        )
    return told
