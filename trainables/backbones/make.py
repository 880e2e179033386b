"""The sequence encoder that a config names, and how it is trained."""

import torch

from trainables.backbones import bert4rec, caser, config, gru4rec, hstu, sasrec
from trainables.backbones.ingredients import Ingredients
from trainables.seqrec.objectives import Reading

AnyBackbone = sasrec.SASRec | bert4rec.BERT4Rec | hstu.HSTU | gru4rec.GRU4Rec | caser.Caser


def make_backbone(
    settings: config.Backbone, *, dim: int, max_history: int, dropout: float, generator: torch.Generator
) -> tuple[AnyBackbone, Reading]:
    """A backbone, and the reading that its training takes from a batch.

    >>> backbone, read = make_backbone(
    ...     config.SASRec(), dim=8, max_history=3, dropout=0.0, generator=torch.Generator()
    ... )
    >>> vectors_BLD, mask_BL = torch.ones(2, 3, 8), torch.tensor([[False, True, True], [True, True, True]])
    >>> backbone.last(vectors_BLD, mask_BL).shape  # one state per history
    torch.Size([2, 8])

    Args:
        settings: the chosen backbone's own.
        dim: D.
        max_history: L, the longest history.
        dropout: rate inside the backbone.
        generator: draws the initial weights.
    """
    on = Ingredients(dim=dim, max_history=max_history, dropout=dropout, generator=generator)
    match settings:
        case config.SASRec():
            return sasrec.make(settings, on)
        case config.BERT4Rec():
            return bert4rec.make(settings, on)
        case config.HSTU():
            return hstu.make(settings, on)
        case config.GRU4Rec():
            return gru4rec.make(settings, on)
        case config.Caser():
            return caser.make(settings, on)
