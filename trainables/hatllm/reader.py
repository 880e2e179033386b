"""Readers of a language model's states: the last token's, or the items' own through SASRec."""

import torch
from torch import nn

from trainables.language.prompts import Prompt
from trainables.seqrec.layers import linear


class LastToken(nn.Module):
    """The state of the last token of the response header (B, H).

    Args:
        width: H.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, state_BTH: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        """The states (B, H); prompts end alike, as they are padded on the left."""
        return state_BTH[:, -1].float()


class ThroughBackbone(nn.Module):
    """Each item's last token's state, projected, through a sequential recommender's backbone: Table 5, CR -> SASRec.

    The paper takes item vectors from the language model and trains SASRec on them, decoupled (§5.3); here both learn
    together, which its §4.2 calls hard, so what is lost is the masks alone.

    Args:
        backbone: reads (B, L, D) and its mask, gives (B, D).
        states: H, width of the language model's states.
        width: D.
        max_history: L.
        generator: draws the projection's initial weights.
    """

    def __init__(
        self, backbone: nn.Module, *, states: int, width: int, max_history: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.backbone, self.width, self.max_history = backbone, width, max_history
        self.project = linear(states, width, generator)

    def forward(self, state_BTH: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        """The backbone's last states (B, D)."""
        item_BT, last_BT = prompt.spans.item_BT, prompt.spans.last_BT
        row_N, token_N = last_BT.nonzero(as_tuple=True)
        count_B = item_BT.amax(dim=1)
        place_N = self.max_history - count_B[row_N] + item_BT[row_N, token_N] - 1
        vector_ND = self.project(state_BTH[row_N, token_N].float())
        vector_BLD = vector_ND.new_zeros(len(item_BT), self.max_history, self.width)
        vector_BLD = vector_BLD.index_put((row_N, place_N), vector_ND)
        held_BL = torch.arange(self.max_history, device=item_BT.device) >= self.max_history - count_B[:, None]
        read: torch.Tensor = self.backbone.last(vector_BLD, held_BL)  # type: ignore[operator]
        return read
