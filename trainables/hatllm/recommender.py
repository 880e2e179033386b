"""A language model that recommends: prompts in, a loss or the scores of all items out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from trainables.hatllm.head import Head
from trainables.hatllm.reader import LastToken, ThroughBackbone
from trainables.language.attention import AttentionObserver
from trainables.language.masks import Kind, block_masks, masks
from trainables.language.prompts import Prompt


class Recommender(nn.Module):
    """Inputs -> masked language model -> reader -> head.

    Args:
        llm: a model that takes ``layer_masks`` (:func:`trainables.language.attention.use_layered`), adapted or not.
        plan: the mask of each of its layers.
        reader: from its states to one a row.
        head: from that to the items.
        inputs: from items (N,) to vectors (N, H), which fill the prompts' slots; None where they have none.
        flex: whether masks are FlexAttention's block masks.
    """

    def __init__(
        self,
        llm: nn.Module,
        *,
        plan: Sequence[Kind],
        reader: LastToken | ThroughBackbone,
        head: Head,
        inputs: nn.Module | None = None,
        flex: bool = False,
    ) -> None:
        super().__init__()
        self.llm, self.reader, self.head, self.inputs = llm, reader, head, inputs
        self.plan, self.flex = tuple(plan), flex

    def forward(self, prompt: Prompt, target_B: torch.Tensor | None = None) -> torch.Tensor:
        """The mean loss over the rows where ``target_B`` (int64) is given, else the scores (B, I) of all items."""
        read_BD = self.reader(self.states(prompt), prompt)
        with torch.autocast(read_BD.device.type, enabled=False):
            result: torch.Tensor = self.head(read_BD.float(), target_B)
        return result

    def states(self, prompt: Prompt, observe: AttentionObserver | None = None) -> torch.Tensor:
        """The language model's last states (B, T, H).

        Args:
            prompt: B prompts of T tokens.
            observe: is handed every layer's attention weights.
        """
        state_BTH: torch.Tensor = self._run(prompt, {} if observe is None else {"observe": observe}).last_hidden_state
        return state_BTH

    def with_blocks(self, prompt: Prompt, target_B: torch.Tensor, blocks: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss, and the last token's states (K, B, H), in fp32, after each of K ``blocks`` of layers."""
        output = self._run(prompt, {"output_hidden_states": True})
        read_BD = self.reader(output.last_hidden_state, prompt)
        with torch.autocast(read_BD.device.type, enabled=False):
            loss: torch.Tensor = self.head(read_BD.float(), target_B)
        layers = len(self.plan)
        ends = [-(-(block + 1) * layers // blocks) for block in range(blocks)]
        return loss, torch.stack([output.hidden_states[end][:, -1].float() for end in ends])

    def _run(self, prompt: Prompt, more: dict[str, Any]) -> Any:
        mask_of = (block_masks if self.flex and "observe" not in more else masks)(prompt.spans, self.plan)
        position_BT = (prompt.spans.real_BT.cumsum(dim=1) - 1).clamp(min=0)
        return self.llm(
            **self._read(prompt),
            position_ids=position_BT,
            use_cache=False,
            layer_masks=[mask_of[kind] for kind in self.plan],
            **more,
        )

    def _read(self, prompt: Prompt) -> dict[str, torch.Tensor]:
        """The language model's input: tokens, or their embeddings with the items' vectors in the slots."""
        if prompt.slot_BT is None or self.inputs is None:
            return {"input_ids": prompt.token_BT}
        embedding_BTH = self.llm.get_input_embeddings()(prompt.token_BT)  # type: ignore[operator]
        filled_BT = prompt.slot_BT > 0
        vector_NH = self.inputs(prompt.slot_BT[filled_BT]).to(embedding_BTH.dtype)
        return {"inputs_embeds": embedding_BTH.index_put(filled_BT.nonzero(as_tuple=True), vector_NH)}
