"""DisCo: IDs and text in two parts each, kept apart and kept useful by losses of their own (Du et al., KDD 2024).

PAD's evaluator fixes the item vectors: two ID tables and two text networks, each behind a dense layer of its own, and
one layer that fuses all four. Neither that table row's losses nor the rest of its class are released, so they are taken
over from DisCo's own code, which predicts ratings and has no sequence:

* disentanglement, weight .2: four CLUB upper bounds of mutual information (Cheng et al., ICML 2020). DisCo bounds that
  of IDs and text, of both the `inner` parts, which a space has to itself, and the `inter` parts, which spaces share;
  each once for what users met and once for how they rated it. Here are no ratings: in place of these two bounds stand
  those of the inner and the inter part within each space.
* sufficiency, weight .2: four bilinear discriminators (InfoMax), one a part. DisCo's tell whether a summary of one
  user's history and an item of another's belong to the same label. Here, from the mean of a part over a history, they
  tell the next item's from those of items that the user has not met.

A bound holds under a network that predicts one part from the other. DisCo trains these networks by Adams of their own
(learning rate 1e-3, the model's 1e-4), after each step of the model's, which moves them too. Here one optimiser trains
all, at one learning rate and weight decay: a bound's gradient stops at the network, the likelihood's at the parts, and
the likelihood is left out of the reported loss. A network that lags behind makes no bound: its estimate can fall below
zero, where no information is, and without end (the loss of Prime Pantry reached -10^23). Such an estimate counts as
zero and moves no part until its network has caught up.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from trainables.data.batches import Batch
from trainables.pad.training import Penalty
from trainables.seqrec.items import Items
from trainables.seqrec.layers import Dropout, deep_linear
from trainables.seqrec.losses import bce, draw_negatives

PARTS = ("id inner", "id inter", "text inner", "text inter")

APART = ((0, 2), (1, 3), (0, 1), (2, 3))
"""Which two of the parts each bound keeps apart: across the spaces as in DisCo, then within each."""


class DisCoItems(nn.Module, Items):
    """Item vectors fused from four parts, and the networks of the losses on these.

    Args:
        sources: item vectors of the four :data:`PARTS`, D columns each.
        dropout: rate before each dense layer.
        generator: draws the initial weights.
    """

    computed = True

    def __init__(self, sources: Sequence[Items], *, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.num_items, self.width = sources[0].num_items, sources[0].width
        self.sources = nn.ModuleList(sources)  # type: ignore[arg-type]
        self.dense = nn.ModuleList(deep_linear(self.width, self.width, generator) for _ in PARTS)
        self.fusion = deep_linear(len(PARTS) * self.width, self.width, generator)
        self.dropout = Dropout(dropout)
        self.bounds = nn.ModuleList(CLUB(self.width, generator=generator) for _ in APART)
        self.tellers = nn.ModuleList(Discriminator(self.width, generator=generator) for _ in PARTS)

    def parts(self, index_N: torch.Tensor | None = None) -> list[torch.Tensor]:
        """The four parts (N, D) of the items ``index_N``, or of all."""
        return [
            functional.gelu(dense(self.dropout(source.rows(index_N))))  # type: ignore[operator]
            for source, dense in zip(self.sources, self.dense, strict=True)
        ]

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        return functional.gelu(self.fusion(self.dropout(torch.cat(self.parts(index_N), dim=1))))


class CLUB(nn.Module):
    """A Gaussian of y given x, and the upper bound of their mutual information that it makes.

    Args:
        dim: D, columns of both.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        hidden = max(dim // 2, 1)
        self.mean = nn.Sequential(deep_linear(dim, hidden, generator), nn.ReLU(), deep_linear(hidden, dim, generator))
        self.log_variance = nn.Sequential(
            deep_linear(dim, hidden, generator), nn.ReLU(), deep_linear(hidden, dim, generator), nn.Tanh()
        )

    def forward(self, x_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the variance (N, D) of y, column by column."""
        return self.mean(x_ND), self.log_variance(x_ND)

    def bound(self, x_ND: torch.Tensor, y_ND: torch.Tensor) -> torch.Tensor:
        """Mean over n of log q(y_n | x_n) - mean over m of log q(y_m | x_n); no gradient reaches the network."""
        fixed = {name: parameter.detach() for name, parameter in self.named_parameters()}
        mean_ND, log_variance_ND = torch.func.functional_call(self, fixed, (x_ND,))
        own_ND = (y_ND - mean_ND).square()
        every_ND = y_ND.var(dim=0, correction=0) + (y_ND.mean(dim=0) - mean_ND).square()  # no pair is formed
        return torch.mean(((every_ND - own_ND) / (2 * log_variance_ND.exp())).sum(dim=1))

    def unlikelihood(self, x_ND: torch.Tensor, y_ND: torch.Tensor) -> torch.Tensor:
        """Mean of -2 log q(y | x), a constant aside, which trains the network; no gradient reaches x and y."""
        mean_ND, log_variance_ND = self(x_ND.detach())
        return torch.mean(((y_ND.detach() - mean_ND).square() / log_variance_ND.exp() + log_variance_ND).sum(dim=1))


class Discriminator(nn.Module):
    """How well an item goes with a history, x W y + b.

    Args:
        dim: D, columns of both.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.weight_DD = nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, dim), generator=generator))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, summary_BD: torch.Tensor, candidate_BSD: torch.Tensor) -> torch.Tensor:
        """Logits (B, S) of S candidates a row."""
        return torch.bmm(candidate_BSD, (summary_BD @ self.weight_DD)[:, :, None]).squeeze(2) + self.bias


def apart_and_sufficient(items: DisCoItems, *, disentanglement: float, sufficiency: float, negatives: int) -> Penalty:
    """Both kinds of losses of a step; each is skipped where its weight is zero.

    Bounds are over the distinct items of the batch's histories and targets.

    Args:
        items: the four parts.
        disentanglement: weight of the sum of four bounds.
        sufficiency: weight of the sum of four discriminators' losses, each the mean of that of targets and of others.
        negatives: K, items a row outside its history and target.
    """

    def penalty(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        length = batch.history_BL.shape[1]
        met_BX = torch.cat([batch.history_BL, batch.target_B[:, None]], dim=1)
        negative_BK = draw_negatives(items.num_items, negatives, met_BX, generator)
        index_N, place_BX = torch.cat([met_BX, negative_BK], dim=1).unique(return_inverse=True)
        parts = items.parts(index_N)
        total = torch.zeros((), device=index_N.device)
        if disentanglement:
            distinct_N = place_BX[:, : length + 1][met_BX != 0].unique()
            apart = [part_ND[distinct_N] for part_ND in parts]
            for (one, other), club in zip(APART, items.bounds, strict=True):
                learning = club.unlikelihood(apart[one], apart[other])  # type: ignore[operator]
                bound = club.bound(apart[one], apart[other])  # type: ignore[operator]
                total = total + disentanglement * bound.clamp_min(0) + (learning - learning.detach())
        if sufficiency:
            held_BL1 = (batch.history_BL != 0)[:, :, None]
            for part_ND, tell in zip(parts, items.tellers, strict=True):
                part_BXD = functional.embedding(place_BX, part_ND)
                sum_BD = (part_BXD[:, :length] * held_BL1).sum(dim=1)
                logit_BS = tell(sum_BD / held_BL1.sum(dim=1).clamp_min(1), part_BXD[:, length:])
                total = total + sufficiency * bce(logit_BS[:, 0], logit_BS[:, 1:]) / 2
        return total

    return penalty
