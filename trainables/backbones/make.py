"""The sequence encoder that a config names, and how it is trained."""

import torch

from trainables.backbones import config
from trainables.backbones.bert4rec import BERT4Rec
from trainables.backbones.caser import Caser
from trainables.backbones.gru4rec import GRU4Rec
from trainables.backbones.hstu import HSTU
from trainables.backbones.sasrec import SASRec
from trainables.seqrec.cloze import cloze
from trainables.seqrec.objectives import Reading, next_item

AnyBackbone = SASRec | BERT4Rec | HSTU | GRU4Rec | Caser


def make_backbone(
    settings: config.SASRec | config.BERT4Rec | config.HSTU | config.GRU4Rec | config.Caser,
    *,
    dim: int,
    max_history: int,
    dropout: float,
    generator: torch.Generator,
) -> tuple[AnyBackbone, Reading]:
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
        case config.GRU4Rec():
            gru4rec = GRU4Rec(
                dim,
                hidden=settings.hidden,
                layers=settings.layers,
                dense=settings.dense,
                final_norm=settings.final_norm,
                dropout=dropout,
                generator=generator,
            )
            return gru4rec, next_item(gru4rec)
        case config.Caser():
            caser = Caser(
                dim,
                max_history,
                filters_horizontal=settings.filters_horizontal,
                filters_vertical=settings.filters_vertical,
                heights=settings.heights,
                final_relu=settings.final_relu,
                final_norm=settings.final_norm,
                dropout=dropout,
                generator=generator,
            )
            return caser, next_item(caser)
