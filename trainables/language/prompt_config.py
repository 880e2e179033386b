"""Settings of prompts."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """The text of a history: Table 1 under the headers of Alpaca's frame, as BIGRec has it. The sentence that opens
    that frame is left out. The text asks for "a new one" where Table 1 asks for "a new movie"."""

    noun: str = "products"
    """Name of the items (Table 1: movies)."""
    verb: str = "bought"
    """Verb for a user's act on them (Table 1: watched)."""
    item_tokens: Literal["title", "quoted", "separated"] = "quoted"
    """Tokens that belong to an item: its title, its quotes as well, or also the comma after it. The paper does not say.
    Tokens of no item are open to all in every layer."""
    max_title_tokens: Annotated[int, at_least(1)] = 32
    """Tokens of a title that are kept, the first ones."""
    max_tokens: Annotated[int, at_least(1)] = 512
    """Longest prompt (BIGRec); the oldest items are left out where it would be longer, the response header never."""
