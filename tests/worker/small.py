"""Settings of each trainable that train in a second, for tests."""

from typing import Any

SMALL_SPECTRAN: dict[str, Any] = {"dim": 16, "data.text_width": 32}

SMALL_PAD: dict[str, Any] = {
    "dim": 16,
    "backbone.blocks": 1,
    "text.layers": 1,
    "data.text_width": 32,
    "pretrain.epochs": 1,
    "align.epochs": 1,
    "fit.epochs": 1,
}

RATES = ("pretrain.learning_rate", "align.learning_rate", "fit.learning_rate")
"""PAD's learning rates, one per phase."""

SMALL_HATLLM: dict[str, Any] = {
    "data.keep_last": 4,
    "data.max_history": 3,
    "data.eval_rows": 40,
    "llm.num_layers": 3,
    "llm.width": 16,
    "llm.heads": 2,
    "llm.vocabulary": 500,
    "llm.pretrain_steps": 3,
    "method.shallow_layers": 1,
    "method.deep_layers": 1,
    "sasrec.epochs": 1,
    "sasrec.dim": 8,
    "fit.steps": 6,
    "fit.evaluate_every": 3,
    "fit.batch_size": 8,
    "fit.learning_rate": 1e-2,
    "engine.name": "torch",
    "engine.warm_up": 0,
    "diagnostics.rows": 0,
}
