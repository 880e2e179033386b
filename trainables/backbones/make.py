"""The sequence encoder that a config names, and how it is trained."""

import torch

from trainables.backbones import config
from trainables.backbones.bert4rec import BERT4Rec
from trainables.backbones.hstu import HSTU
from trainables.backbones.sasrec import SASRec
from trainables.seqrec.cloze import cloze
from trainables.seqrec.objectives import Reading, next_item


def make_backbone(
    settings: config.SASRec | config.BERT4Rec | config.HSTU,
    *,
    dim: int,
    max_history: int,
    dropout: float,
    generator: torch.Generator,
) -> tuple[SASRec | BERT4Rec | HSTU, Reading]:
    """A backbone, and what its training reads from a batch.

    Args:
        settings: the chosen backbone's own.
        dim: D.
        max_history: L, the longest history.
        dropout: rate inside the backbone.
        generator: draws the initial weights.
    """
    match settings:
        case config.SASRec():
            sasrec = SASRec(
                dim,
                max_history,
                blocks=settings.blocks,
                heads=settings.heads,
                scale=settings.scale,
                dropout=dropout,
                generator=generator,
            )
            return sasrec, next_item(sasrec)
        case config.HSTU():
            hstu = HSTU(
                dim,
                max_history,
                blocks=settings.blocks,
                heads=settings.heads,
                scale=settings.scale,
                final_norm=settings.final_norm,
                dropout=dropout,
                generator=generator,
            )
            return hstu, next_item(hstu)
        case config.BERT4Rec():
            bert4rec = BERT4Rec(
                dim, max_history, blocks=settings.blocks, heads=settings.heads, dropout=dropout, generator=generator
            )
            return bert4rec, cloze(bert4rec, settings.mask_ratio, settings.newest_share)
