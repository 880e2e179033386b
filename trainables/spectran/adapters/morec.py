"""MoRec: a dense projection of frozen text (Yuan et al., SIGIR 2023), by :class:`trainables.seqrec.text.TextItems`."""

from trainables.seqrec.text import TextItems
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients


def make(settings: config.MoRec, on: Ingredients) -> TextItems:
    """The items of ``adapter.name: morec``."""
    return TextItems(
        on.text_vectors,
        dim=on.dim,
        layers=settings.layers,
        dropout=settings.dropout,
        scale=on.scale_to(settings.length),
        generator=on.generator,
    )
