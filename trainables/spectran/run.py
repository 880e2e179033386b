"""SpecTran (SpecTran: Spectral-aware Transformer-based adapter): items x SASRec x InfoNCE; README has the equations."""

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.backbones.sasrec import SASRec
from trainables.data.batches import Batch
from trainables.data.sequences import Sequences, load
from trainables.data.splits import Rows, leave_one_out, seen_items
from trainables.data.text import text_stage
from trainables.seqrec.config import TOP_K
from trainables.seqrec.evaluate import rank_targets, write_ranks
from trainables.seqrec.fit import fit, write_weights
from trainables.seqrec.layers import IdItems
from trainables.seqrec.losses import all_scores, draw_negatives, info_nce
from trainables.seqrec.metrics import ranking_metrics
from trainables.seqrec.randomness import generator_for
from trainables.spectran.adapter import SpectralItems
from trainables.spectran.config import Config, NoAdapter
from trainables.spectran.spectrum import spectrum
from trainables.trial import Trial


def run(config: Config, trial: Trial) -> None:
    """Train one configuration, report every epoch, and the test split once at the best one.

    Artifacts: ``ranks.npy`` (``user`` and ``rank`` of every test row) and ``best.safetensors``.

    Raises:
        ValueError: ``dim`` exceeds the rank of the text vectors; there is nothing to train on.
    """
    sequences = load(config.data, trial.stages)
    trial.tag("data.fingerprint", sequences.fingerprint)
    splits = leave_one_out(sequences, config.data)
    objective = config.objective
    items = make_items(config, sequences, trial)
    backbone = SASRec(
        config.dim,
        config.data.max_history,
        blocks=config.backbone.blocks,
        heads=config.backbone.heads,
        scale=config.backbone.scale,
        dropout=config.fit.dropout,
        generator=generator_for(trial.seed, "backbone"),
    )
    model = nn.ModuleDict({"item": items, "backbone": backbone}).to(trial.device)
    cosine = objective.similarity == "cosine"

    def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        table_ID = items()
        excluded_BE = batch.target_B[:, None]
        if objective.exclude == "history":
            excluded_BE = torch.cat([excluded_BE, batch.history_BL], dim=1)
        negative_BK = draw_negatives(sequences.num_items, objective.negatives, excluded_BE, generator)
        hidden_BD = encode(backbone, table_ID, batch.history_BL)
        return info_nce(
            hidden_BD, table_ID, batch.target_B, negative_BK, cosine=cosine, temperature=objective.temperature
        )

    def ranks(rows: Rows) -> np.ndarray:
        with torch.inference_mode():
            table_ID = items()
        return rank_targets(
            lambda batch: all_scores(encode(backbone, table_ID, batch.history_BL), table_ID, cosine=cosine),
            rows,
            num_items=sequences.num_items,
            device=trial.device,
            seen=seen_items(sequences, rows) if config.data.mask_seen else None,
        )

    done = fit(
        model,
        loss=loss,
        rows=splits.train,
        evaluate=lambda: ranking_metrics("valid", ranks(splits.valid), TOP_K),
        trial=trial,
        epochs=config.fit.epochs,
        patience=config.fit.patience,
        batch_size=config.fit.batch_size,
        learning_rate=config.fit.learning_rate,
        weight_decay=config.fit.weight_decay,
    )
    rank_N = ranks(splits.test)
    write_ranks(trial.artifact("ranks.npy"), splits.test, rank_N)
    write_weights(trial.artifact("best.safetensors"), model)
    trial.report(done.best_epoch, ranking_metrics("test", rank_N, TOP_K))


def encode(backbone: SASRec, table_ID: torch.Tensor, history_BL: torch.Tensor) -> torch.Tensor:
    """The states after the histories, (B, D); padding has no gradient."""
    return backbone.last(functional.embedding(history_BL, table_ID, padding_idx=0), history_BL != 0)


def make_items(config: Config, sequences: Sequences, trial: Trial) -> IdItems | SpectralItems:
    """The items that ``config.adapter`` asks for."""
    adapter, generator = config.adapter, generator_for(trial.seed, "items")
    if isinstance(adapter, NoAdapter):
        return IdItems(sequences.num_items, config.dim, generator=generator)
    text = text_stage(sequences, config.data, trial.stages)
    result = trial.stages.get(spectrum, {"text": text, "center": adapter.center, "normalise": adapter.normalise})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # and never written
        left_IR, singular_R = torch.from_numpy(result["left_IR"]), torch.from_numpy(result["singular_R"])
    return SpectralItems(
        left_IR,
        singular_R,
        dim=config.dim,
        attention=adapter.attention,
        inner_width=adapter.inner_width,
        position=adapter.position,
        taylor_order=adapter.taylor_order,
        id_width=adapter.null_width if adapter.fusion == "null_space" else config.dim,
        generator=generator,
    )
