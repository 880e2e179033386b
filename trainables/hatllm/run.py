"""HatLLM and the methods on its loop. The README has the equations.

A method is a case of :func:`trainables.hatllm.compose.compose`: its prompts (titles, slots for item
vectors), its mask per layer, its reading of the language model. The loop, the engine and the heads are shared by all.
"""

import numpy as np
import torch

from trainables.data.batches import Batch
from trainables.data.sequences import Sequences, load
from trainables.data.splits import Rows, Splits, split
from trainables.data.tags import tag_data
from trainables.hatllm.compose import compose
from trainables.hatllm.config import TOP_K, Config
from trainables.hatllm.diagnostics import write_diagnostics
from trainables.hatllm.parts import Ingredients, Method
from trainables.hatllm.training import train
from trainables.language.engines.engine import Engine, make_engine
from trainables.language.llm import borrowed, pieces
from trainables.seqrec.evaluate import rank_rows, report_test
from trainables.seqrec.metrics import Shown, ranking_metrics
from trainables.trial import Trial


def run(config: Config, trial: Trial) -> None:
    """Train one configuration, report every evaluation at its optimiser step, and the test split once at the best.

    With the test metrics come ``trial/parameters`` (trained ones), ``trial/inference_seconds`` (of ranking the test
    split) and what :func:`write_diagnostics` says. Artifacts: ``ranks.npy``, ``best.safetensors`` (adapters and head)
    and the diagnostics' tables.

    Raises:
        ValueError: data, titles, language model, prompts or engine do not fit; said before the first step.
    """
    if config.attention == "flex" and not trial.device.startswith("cuda"):
        raise ValueError(
            f"attention: flex needs a GPU, but this trial runs on {trial.device}; take sdpa, or set resources.gpu"
        )
    sequences = load(config.data, trial.stages)
    splits = split(sequences, config.data)
    if trial.rank == 0:
        tag_data(trial, sequences, splits, config.data)
    prompt_pieces = pieces(config.llm, config.data, config.prompt, trial)
    with borrowed(config.llm, config.data, config.prompt, trial) as base:
        method = compose(Ingredients(config, trial, sequences, splits, prompt_pieces, base))
        engine = make_engine(
            method.model,
            config.engine,
            learning_rate=config.fit.learning_rate,
            steps=config.fit.steps,
            trial=trial,
            batch_size=config.fit.batch_size,
        )
        try:
            trial.status("")
            _train_and_test(method, engine, config, trial, sequences, splits)
        finally:
            engine.close()


def _train_and_test(
    method: Method, engine: Engine, config: Config, trial: Trial, sequences: Sequences, splits: Splits
) -> None:
    def ranks(rows: Rows, shown: Shown | None = None) -> np.ndarray:
        return rank_rows(
            lambda batch: engine.module(method.prompts(batch.history_BL)),
            rows,
            sequences,
            mask_seen=config.data.mask_seen,
            shown=shown,
            device=trial.device,
            batch_size=config.fit.eval_batch_size,
        )

    def loss(batch: Batch, step: int) -> torch.Tensor:
        prompts = method.trained_on(step) if method.trained_on else method.prompts
        mean: torch.Tensor = engine.module(prompts(batch.history_BL), batch.target_B)
        return mean

    def evaluate() -> dict[str, float]:
        return ranking_metrics("valid", ranks(splits.valid), TOP_K)

    done = train(engine, loss, splits.train, evaluate, config.fit, trial)
    trained = engine.state()["parameters"]
    report_test(
        trial,
        splits.test,
        ranks,
        step=done.best_step,
        top_k=TOP_K,
        weights=trained,
        sequences=sequences,
        train=splits.train,
        trained=trained.values(),
        extra=lambda _: write_diagnostics(method, splits, config.diagnostics.rows, trial),
    )
