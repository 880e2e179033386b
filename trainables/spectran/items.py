"""The item vectors that a config asks for: its adapter, with the stages that the adapter builds on."""

import numpy as np
import torch

from trainables.data.sequences import Sequences
from trainables.data.splits import Rows, seen_items
from trainables.data.text import text_stage
from trainables.seqrec.items import IdItems
from trainables.seqrec.randomness import generator_for
from trainables.seqrec.text import TextItems, mapped, mean_length
from trainables.spectran.adapters import config as adapters
from trainables.spectran.adapters.alphafuse import AlphaFuseItems, weighted_coordinates
from trainables.spectran.adapters.llm_esr import LLMESRItems, similar_users
from trainables.spectran.adapters.llminit import rescaled, start_table
from trainables.spectran.adapters.rlmrec import RLMRecItems
from trainables.spectran.adapters.spectran import SpectralItems
from trainables.spectran.adapters.unisrec import UniSRecItems
from trainables.spectran.adapters.whitenrec import WhitenRecItems, whitening
from trainables.spectran.config import Config
from trainables.spectran.spectrum import has_text, spectrum
from trainables.storage.stages import StageResult, Stages
from trainables.trial import Trial

Made = IdItems | TextItems | UniSRecItems | RLMRecItems | LLMESRItems | WhitenRecItems | AlphaFuseItems | SpectralItems
"""All of them `Items` and `nn.Module`, which no one type says."""


def make_items(config: Config, sequences: Sequences, train: Rows, trial: Trial) -> Made:
    """The items that ``config.adapter`` asks for.

    Args:
        config: ``dim``, ``data`` and ``adapter`` are read.
        sequences: all interactions.
        train: the training rows, for adapters that count items or compare users.
        trial: seed and stages.

    Raises:
        ValueError: the text has too few dimensions for ``dim``.
    """
    adapter, dim, stages = config.adapter, config.dim, trial.stages
    generator = generator_for(trial.seed, "items")
    if isinstance(adapter, adapters.NoAdapter):
        return IdItems(sequences.num_items, dim, generator=generator)
    text = text_stage(sequences, config.data, stages)
    match adapter:
        case adapters.MoRec():
            return TextItems(
                mapped(text["vectors"]),
                dim=dim,
                layers=adapter.layers,
                dropout=adapter.dropout,
                scale=adapter.length / mean_length(text["vectors"]),
                generator=generator,
            )
        case adapters.UniSRec():
            return UniSRecItems(
                mapped(text["vectors"]),
                dim=dim,
                experts=adapter.experts,
                dropout=adapter.dropout,
                ids=adapter.ids,
                scale=adapter.length / mean_length(text["vectors"]),
                generator=generator,
            )
        case adapters.RLMRec():
            return RLMRecItems(
                mapped(text["vectors"]),
                dim=dim,
                objective=adapter.objective,
                loss=adapter.loss,
                weight=adapter.weight,
                temperature=adapter.temperature,
                mask_ratio=adapter.mask_ratio,
                scale=adapter.length / mean_length(text["vectors"]),
                generator=generator,
            )
        case adapters.WhitenRec():
            return WhitenRecItems(
                _whitened(adapter, text, stages, 1),
                _whitened(adapter, text, stages, adapter.groups) if adapter.groups > 1 else None,
                dim=dim,
                layers=adapter.layers,
                generator=generator,
            )
        case adapters.LLMESR():
            return _llm_esr(adapter, dim, text, sequences, train, stages, generator)
        case adapters.LLMInit():
            return _llminit(adapter, dim, text, sequences, train, stages, generator)
        case adapters.AlphaFuse():
            return _alphafuse(adapter, dim, text, sequences, train, stages, generator)
        case adapters.SpecTran():
            return _spectran(adapter, dim, text, stages, generator)


def _llm_esr(
    adapter: adapters.LLMESR,
    dim: int,
    text: StageResult,
    sequences: Sequences,
    train: Rows,
    stages: Stages,
    generator: torch.Generator,
) -> LLMESRItems:
    length = mean_length(text["vectors"])
    history_UL = similar_UN = None
    if adapter.distillation:
        last = last_rows(train)
        users, history = train.user_N[last], train.history_NL[last]
        inputs = {"text": text, "history": history.tolist(), "count": adapter.similar_users}
        similar = stages.get(similar_users, inputs)["similar_UN"]
        history_UL = torch.zeros(sequences.num_users, history.shape[1], dtype=torch.int64)
        history_UL[users] = torch.from_numpy(history).long()
        similar_UN = torch.zeros(sequences.num_users, similar.shape[1], dtype=torch.int64)
        similar_UN[users] = torch.from_numpy(users[similar]).long()
    return LLMESRItems(
        mapped(text["vectors"]),
        torch.from_numpy(_coordinates(text, stages, dim) / np.float32(length)),
        alignment=adapter.alignment,
        distillation=adapter.distillation,
        history_UL=history_UL,
        similar_UN=similar_UN,
        scale=adapter.length / length,
        generator=generator,
    )


def _llminit(
    adapter: adapters.LLMInit,
    dim: int,
    text: StageResult,
    sequences: Sequences,
    train: Rows,
    stages: Stages,
    generator: torch.Generator,
) -> IdItems:
    if adapter.select == "pca" or adapter.select == "whitened":  # `in` would narrow no type
        table_ID = _coordinates(text, stages, dim, whitened=adapter.select == "whitened")
    else:
        table_ID = start_table(
            text["vectors"],
            dim=dim,
            select=adapter.select,
            count_I=item_counts(sequences, train),
            share=adapter.share,
            generator=generator,
        )
    initial_ID = torch.from_numpy(rescaled(table_ID, adapter.std))
    return IdItems(sequences.num_items, dim, generator=generator, initial_ID=initial_ID)


def _alphafuse(
    adapter: adapters.AlphaFuse,
    dim: int,
    text: StageResult,
    sequences: Sequences,
    train: Rows,
    stages: Stages,
    generator: torch.Generator,
) -> AlphaFuseItems:
    columns = dim - adapter.null_width if adapter.cover else dim
    if adapter.weighted:
        met = item_counts(sequences, train).tolist()
        frozen_IC = _first(stages.get(weighted_coordinates, {"text": text, "met": met})["coordinates_IR"], columns)
    else:
        frozen_IC = _coordinates(text, stages, columns, whitened=True)
    return AlphaFuseItems(
        torch.from_numpy(frozen_IC * np.float32(adapter.std)),
        null_width=adapter.null_width,
        start=adapter.start,
        cover=adapter.cover,
        generator=generator,
    )


def _spectran(
    adapter: adapters.SpecTran, dim: int, text: StageResult, stages: Stages, generator: torch.Generator
) -> SpectralItems | IdItems:
    result = stages.get(spectrum, {"text": text, "center": adapter.center, "normalise": adapter.normalise})
    left_IR = mapped(result["left_IR"])
    items = SpectralItems(
        left_IR,
        mapped(result["singular_R"]),
        dim=dim,
        attention=adapter.attention,
        inner_width=adapter.inner_width,
        position=adapter.position,
        taylor_order=adapter.taylor_order,
        coefficients=adapter.coefficients,
        threshold=adapter.threshold,
        threshold_start=adapter.threshold_start,
        learn_threshold=adapter.learn_threshold,
        id_width=adapter.null_width if adapter.fusion in ("null_space", "concat") else dim,
        beside=adapter.fusion == "concat",
        generator=generator,
    )
    if adapter.fusion != "init":
        return items
    with torch.no_grad():
        return IdItems(len(left_IR), dim, generator=generator, initial_ID=items.semantic(left_IR))


def _whitened(adapter: adapters.WhitenRec, text: StageResult, stages: Stages, groups: int) -> torch.Tensor:
    inputs = {"text": text, "rotation": adapter.rotation, "groups": groups, "floor": adapter.floor}
    return mapped(stages.get(whitening, inputs)["whitened_IV"])


def _coordinates(text: StageResult, stages: Stages, dim: int, *, whitened: bool = False) -> np.ndarray:
    """The text's first principal coordinates, (I, D): U_d Sigma_d, or U_d sqrt(N), of unit variance over the N items
    with text; zero for all others.
    """
    result = stages.get(spectrum, {"text": text, "center": True, "normalise": False})
    left_ID = _first(result["left_IR"], dim)
    if not whitened:
        return left_ID * result["singular_R"][:dim]
    return left_ID * np.float32(np.sqrt(has_text(text["vectors"]).sum()))


def _first(table_IR: np.ndarray, dim: int) -> np.ndarray:
    if dim > table_IR.shape[1]:
        raise ValueError(
            f"dim must be at most the rank of the text vectors, but got dim {dim} and rank {table_IR.shape[1]}; "
            "lower dim or use wider text vectors (data.text, data.text_width)"
        )
    return np.array(table_IR[:, :dim])


def last_rows(train: Rows) -> np.ndarray:
    """Which row of each user ends last, in the users' order: it has the longest history."""
    order = np.lexsort((train.stop_N, train.user_N))
    user_N = train.user_N[order]
    return order[np.append(user_N[1:] != user_N[:-1], np.ones(min(len(order), 1), bool))]


def item_counts(sequences: Sequences, train: Rows) -> np.ndarray:
    """How often users met each item up to their last training target, itself included: int64 (I,)."""
    last = last_rows(train)
    rows = Rows(**{name: column[last] for name, column in vars(train).items()})
    met = np.concatenate([seen_items(sequences, rows).items, rows.target_N])
    return np.bincount(met, minlength=sequences.num_items)
