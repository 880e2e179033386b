"""The gates that weigh PAD's experts by the item that is scored (§3.3): three readings of one paragraph.

The paper's equation 11 has a network of the scored item's bucket and, by its letters, of the history's item vectors.
Its words, and the released code, have weights of the item alone. The network here therefore reads the item's vectors.
The released code has scalars for each bucket and no network. Figure 5(b)'s ablation has weights that are the same for
all items.

A gate is called with the vectors that each expert in use has for N items, and those items' buckets. An expert that is
switched off is in neither. Shape letters beside the common ones: N items, E experts, B buckets.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from trainables.seqrec.layers import linear, normal

ALIGNED_START = -4.0
"""The aligned expert's first scalar in the released code: it begins all but closed."""

BUCKET_WIDTH = 16
"""Columns of a bucket's vector in the network gate; the paper does not say."""

HIDDEN_WIDTH = 64
"""Hidden units of each expert's network in the network gate; the paper does not say."""


class FrequencyGate(nn.Module):
    """A weight for each bucket and expert: sigmoids of E vectors of B + 1 scalars, over their sum (released code).

    At the start the ID expert's scalars fall from 1 to 0 over buckets 0..B, the text expert's rise from 0 to 1, and the
    aligned expert's fall by 1 from ``start``. The released code keeps weight decay off these scalars.

    Args:
        experts: names of those in use, of ``id``, ``aligned`` and ``text``; columns of the weights in this order.
        buckets: B.
        start: the aligned expert's scalar at bucket 0.
    """

    def __init__(self, experts: Sequence[str], buckets: int, *, start: float = ALIGNED_START) -> None:
        super().__init__()
        self.scalar_EB = nn.Parameter(_start(experts, buckets, start))

    def forward(self, vectors: Sequence[torch.Tensor], bucket_N: torch.Tensor) -> torch.Tensor:
        """Weights (N, E) that sum to 1.

        Args:
            vectors: of each expert, (N, D); not read.
            bucket_N: int64, of each item.
        """
        return _normalised(self.scalar_EB.T)[bucket_N]


class GlobalGate(nn.Module):
    """A weight for each expert, the same for all items (§4.7, "learned weights on all items equally").

    It starts at the mean over buckets of :class:`FrequencyGate`'s scalars, so that frequency is all that is taken away.

    Args:
        experts: names of those in use.
        start: the aligned expert's scalar at bucket 0 of a frequency gate.
    """

    def __init__(self, experts: Sequence[str], *, start: float = ALIGNED_START) -> None:
        super().__init__()
        self.scalar_E = nn.Parameter(_start(experts, 1, start).mean(dim=1))

    def forward(self, vectors: Sequence[torch.Tensor], bucket_N: torch.Tensor) -> torch.Tensor:
        """Weights (N, E), one row like the other; see :meth:`FrequencyGate.forward`."""
        return _normalised(self.scalar_E).expand(len(bucket_N), -1)


class NetworkGate(nn.Module):
    """Weights from a network of an item's bucket and vectors: equation 11 with the scored item's vectors as h.

    Expert e's logit reads the bucket and e's own vector, as each of equation 11's networks does, through one hidden
    layer; a softmax makes the logits probabilities. Of the aligned expert, which has two vectors there, it reads the
    fused one. All experts weigh the same at the start.

    Args:
        dim: D, columns of each expert's vectors.
        experts: E.
        buckets: B.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, experts: int, buckets: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.bucket_BX = normal(buckets + 1, BUCKET_WIDTH, generator=generator)
        self.hidden = nn.ModuleList(linear(BUCKET_WIDTH + dim, HIDDEN_WIDTH, generator) for _ in range(experts))
        self.output = nn.ModuleList(linear(HIDDEN_WIDTH, 1, generator) for _ in range(experts))
        for layer in self.output:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]

    def forward(self, vectors: Sequence[torch.Tensor], bucket_N: torch.Tensor) -> torch.Tensor:
        """Weights (N, E) that sum to 1.

        Args:
            vectors: of each expert, (N, D); they get a gradient.
            bucket_N: int64, of each item.
        """
        bucket_NX = functional.embedding(bucket_N, self.bucket_BX)
        logits = [
            output(functional.gelu(hidden(torch.cat([bucket_NX, vectors_ND], dim=1))))
            for hidden, output, vectors_ND in zip(self.hidden, self.output, vectors, strict=True)
        ]
        return torch.cat(logits, dim=1).softmax(dim=1)


def _start(experts: Sequence[str], buckets: int, start: float) -> torch.Tensor:
    """First scalars (E, B + 1) of the experts by name."""
    ends = {"id": (1.0, 0.0), "aligned": (start, start - 1), "text": (0.0, 1.0)}
    unknown = [name for name in experts if name not in ends]
    if unknown or not experts:
        raise ValueError(f"a gate weighs experts of {sorted(ends)}, but got {list(experts)}; name one or more of these")
    return torch.stack([torch.linspace(*ends[name], buckets + 1) for name in experts])


def _normalised(scalar_XE: torch.Tensor) -> torch.Tensor:
    """sigmoid(a_e) / Σ sigmoid(a) over the last axis, by logarithms: an expert at -inf weighs exactly nothing."""
    return functional.logsigmoid(scalar_XE).softmax(dim=-1)
