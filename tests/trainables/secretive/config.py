"""A trainable whose settings hold what must not be seen."""

from dataclasses import dataclass

METRICS = ("valid/ndcg_10",)


@dataclass(frozen=True, kw_only=True)
class Hub:
    """The hub that it logs in to."""

    name: str = "hub"
    api_key: str = ""
    """Never shown."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings that hold secrets."""

    seed: int = 0
    hub: Hub = Hub()
    text: str = ""
    """The text of its failure; empty: it does not fail."""
