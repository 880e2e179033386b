"""SLMRec: E4SRec on the language model's first layers, which learn from all of them (distillation).

The teacher, E4SRec on all layers, is trained first, as a stage that trials share. Both are cut into as many blocks of
layers; the student's states at the last token after each block are drawn to the teacher's. The paper also offers heads
at each block and an online teacher, which are left out.
"""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.config import flatten
from trainables.data.batches import Batch
from trainables.hatllm.config import TOP_K, Config
from trainables.hatllm.methods_config import E4SRec, SLMRec
from trainables.hatllm.parts import Ingredients, Method, full, sasrec_table, vectors_only
from trainables.hatllm.recommender import Recommender
from trainables.hatllm.sasrec import SilentTrial
from trainables.hatllm.training import train
from trainables.language.attention import AttentionObserver
from trainables.language.engines.engine import make_engine
from trainables.language.llm import stands_for
from trainables.language.prompts import Prompt
from trainables.seqrec.evaluate import rank_rows
from trainables.seqrec.metrics import ranking_metrics
from trainables.storage.stages import Arrays, StageResult, stage


def slmrec(ingredients: Ingredients, method: SLMRec) -> Method:
    """The student with its trained teacher beside it."""
    weights = trained_teacher(ingredients, method)
    teacher = vectors_only(_apart(as_teacher(ingredients, method)), sasrec_table(ingredients)).model
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            if name in weights:
                parameter.copy_(torch.from_numpy(np.array(weights[name])))
    plan = full(ingredients)[: method.student_layers]
    student = vectors_only(ingredients, sasrec_table(ingredients), plan)
    model = Distilled(student.model, teacher, method.blocks, direction=method.direction, length=method.length)
    return Method(student.prompts, model.to(ingredients.trial.device))


class Distilled(nn.Module):
    """A recommender whose loss also draws its states to those of a frozen teacher.

    Args:
        student: what is trained and ranked by.
        teacher: deeper; it is frozen here.
        blocks: of layers, whose last states are compared.
        direction: weight of 1 - cosine.
        length: weight of the L2 norm of the difference.
    """

    def __init__(
        self, student: Recommender, teacher: Recommender, blocks: int, *, direction: float, length: float
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher.requires_grad_(False).eval()
        self.blocks, self.direction, self.length = blocks, direction, length
        self.plan = student.plan

    def train(self, mode: bool = True) -> "Distilled":
        """The student is switched, the teacher never drops anything."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, prompt: Prompt, target_B: torch.Tensor | None = None) -> torch.Tensor:
        """The student's loss and both differences where ``target_B`` is given, else its scores."""
        if target_B is None:
            scores: torch.Tensor = self.student(prompt)
            return scores
        loss, student_KBH = self.student.with_blocks(prompt, target_B, self.blocks)
        with torch.no_grad():
            _, teacher_KBH = self.teacher.with_blocks(prompt, target_B, self.blocks)
        turned: torch.Tensor = 1 - functional.cosine_similarity(student_KBH, teacher_KBH, dim=-1)
        apart: torch.Tensor = (student_KBH - teacher_KBH).norm(dim=-1)
        return loss + self.direction * turned.mean() + self.length * apart.mean()

    def states(self, prompt: Prompt, observe: AttentionObserver | None = None) -> torch.Tensor:
        """The student's; see :meth:`Recommender.states`."""
        return self.student.states(prompt, observe)


def as_teacher(ingredients: Ingredients, method: SLMRec) -> Ingredients:
    """The teacher's settings: the student's, but for its method, its learning rate and what only DeepSpeed has."""
    config = ingredients.config
    rate = method.teacher_learning_rate or config.fit.learning_rate
    settings = dataclasses.replace(
        config,
        method=E4SRec(),
        fit=dataclasses.replace(config.fit, learning_rate=rate),
        engine=dataclasses.replace(config.engine, name="torch", zero_stage=None, offload=None, file=None),
    )
    return dataclasses.replace(ingredients, config=settings)


def trained_teacher(ingredients: Ingredients, method: SLMRec) -> StageResult:
    """The teacher of the trial that ``ingredients`` is for, trained here or by another trial."""
    asked = as_teacher(ingredients, method)
    config, trial = asked.config, ingredients.trial
    return trial.stages.get(
        teacher_weights,
        {
            "data": ingredients.splits.trained_on,
            "settings": teacher_settings(config),
            "llm": stands_for(config.llm, config.data, config.prompt, trial),
        },
        context={"ingredients": asked},
        notify=trial.status,
        scratch=True,
    )


def teacher_settings(config: Config) -> dict[str, Any]:
    """What of the teacher's ``config`` its training reads; its prompts have no titles."""
    left_out = (
        *("data.name", "data.root", "data.text", "prompt.item_tokens", "prompt.max_title_tokens"),
        *("diagnostics", "fit.eval_batch_size", "fit.chunk", "attention"),
    )
    return {name: value for name, value in flatten(config).items() if not name.startswith(left_out)}


def _apart(ingredients: Ingredients) -> Ingredients:
    """The same on a language model of its own, so that teacher and student may both have adapters."""
    return dataclasses.replace(ingredients, base=copy.deepcopy(ingredients.base))


@stage(version=4)
def teacher_weights(data: str, settings: dict[str, Any], llm: Any, ingredients: Ingredients, folder: Path) -> Arrays:
    """Stage: the trained parameters of E4SRec on all layers, by name, at the best evaluation.

    Args:
        data: fingerprint of the interactions and of what is trained on.
        settings: of the teacher, those that its training reads.
        llm: what stands for the language model.
        ingredients: made of all that.
        folder: for work that is not done.
    """
    config = ingredients.config
    trial = SilentTrial(ingredients.trial, folder / "checkpoints", "SLMRec's teacher: step")
    method = vectors_only(_apart(ingredients), sasrec_table(ingredients))
    fit = config.fit
    engine = make_engine(method.model, config.engine, learning_rate=fit.learning_rate, steps=fit.steps, trial=trial)

    def loss(batch: Batch, step: int) -> torch.Tensor:
        mean: torch.Tensor = engine.module(method.prompts(batch.history_BL), batch.target_B)
        return mean

    def evaluate() -> dict[str, float]:
        rank_N = rank_rows(
            lambda batch: engine.module(method.prompts(batch.history_BL)),
            ingredients.splits.valid,
            ingredients.sequences,
            mask_seen=config.data.mask_seen,
            device=trial.device,
            batch_size=fit.eval_batch_size,
        )
        return ranking_metrics("valid", rank_N, TOP_K)

    try:
        train(engine, loss, ingredients.splits.train, evaluate, fit, trial)
        return {name: tensor.numpy() for name, tensor in engine.state()["parameters"].items()}
    finally:
        engine.close()
