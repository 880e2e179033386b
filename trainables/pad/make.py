"""MAKE: a text expert that was trained by itself, joined by an ID expert (Sheng et al., CIKM 2024).

PAD's Table 2 trains the text expert as MoRec is trained, then both together, their scores mixed by gates of the scored
item's bucket: two sigmoids over their sum (:class:`FrequencyGate`), or in an older evaluator the gate here.
"""

from collections.abc import Sequence

import torch
from torch import nn


class ComplementGate(nn.Module):
    """One scalar a bucket: 2 sigmoid of it for the ID expert, what is left of 2 for the text expert.

    Unlike the other gates' its weights sum to 2. It starts where :class:`FrequencyGate` starts the ID expert, which the
    release does not show.

    Args:
        buckets: B.
    """

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.scalar_B = nn.Parameter(torch.linspace(1, 0, buckets + 1))

    def forward(self, vectors: Sequence[torch.Tensor], bucket_N: torch.Tensor) -> torch.Tensor:
        """Weights (N, 2) of the ID and the text expert.

        Args:
            vectors: of each expert, (N, D); not read.
            bucket_N: int64, of each item.
        """
        id_B = 2 * torch.sigmoid(self.scalar_B)
        return torch.stack([id_B, 2 - id_B], dim=1)[bucket_N]
