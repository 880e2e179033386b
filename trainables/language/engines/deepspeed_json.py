"""A DeepSpeed JSON merged with our own settings. Two values for one thing are refused, naming both.

Standard library only, so that a sweep can be checked without DeepSpeed. "auto" stands for our value where there is one
and for DeepSpeed's own default elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.fields import did_you_mean
from trainables.language.engines.engine_config import EngineConfig

AUTO = "auto"
LARGEST_FILE = 2**20
"""Bytes that are read of a DeepSpeed JSON, which has a KiB or two."""
_ROOT = Path(__file__).parents[3]

_KEYS = (
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping",
    "optimizer", "scheduler", "fp16", "bf16", "torch_autocast", "data_types", "amp", "zero_optimization",
    "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer", "communication_data_type", "fp32_allreduce",
    "prescale_gradients", "gradient_predivide_factor", "sparse_gradients", "disable_allgather", "steps_per_print",
    "wall_clock_breakdown", "dump_state", "memory_breakdown", "activation_checkpointing", "flops_profiler",
    "comms_logger", "aio", "compile", "checkpoint", "seed", "dataloader_drop_last", "disable_python_gc",
    "seq_parallel_communication_data_type", "use_data_before_expert_parallel_",
)  # fmt: skip
"""Top-level keys of the DeepSpeed 0.19 documentation that mean something for one optimiser over local ranks."""

_PARAMS = ("lr", "betas", "eps", "weight_decay", "torch_adam", "adam_w_mode")
"""Of the optimiser; the last two choose among DeepSpeed's own, of which torch's AdamW is the one that is taken."""

_OFFLOAD = {"none": (), "optimiser": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}


@dataclass(frozen=True)
class Merged:
    """The config that DeepSpeed gets, and the settings of the optimiser that this package makes."""

    config: dict[str, Any]
    """Without ``optimizer``; no value is "auto"."""
    betas: tuple[float, float]
    eps: float
    accumulation: int
    """Micro-batches of a rank in one step."""


def read(name: str) -> dict[str, Any]:
    """The JSON file ``name``, from here or from the root of the repository.

    Raises:
        ValueError: there is no such file, or it holds no JSON object.
    """
    path = next((path for path in (Path(name), _ROOT / name) if path.is_file()), None)
    if path is None:
        raise ValueError(f"file must be a DeepSpeed JSON, but got {name!r}, which is no file here or in {_ROOT}")
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(LARGEST_FILE).decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: must be JSON in UTF-8, but got other bytes; save it as such") from None
    except RecursionError:
        raise ValueError(f"{path}: must be JSON, but has too many brackets, one in another; take some away") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: must be JSON, but {error.msg.lower()}; correct it there") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must be a JSON object, but got {type(content).__name__}; write {{...}}")
    return content


def problems(settings: EngineConfig, *, learning_rate: float, batch_size: int, ranks: int | None = None) -> list[str]:
    """Everything that speaks against ``settings``, each as ``engine.field: rule, but got value; remedy``.

    Args:
        settings: of any engine.
        learning_rate: the schedule's peak.
        batch_size: rows of an optimiser step, over all ranks.
        ranks: of the trial; None where that is not known.
    """
    try:
        content = read(settings.file) if settings.file else {}
    except ValueError as error:
        return [f"engine.file: {error}"]
    merging = _Merging(settings, content)
    merging.merge(learning_rate=learning_rate, batch_size=batch_size, ranks=ranks, divisor=1, bf16=None)
    return merging.problems


def merged(
    settings: EngineConfig, *, learning_rate: float, batch_size: int | None, ranks: int, divisor: int, bf16: bool
) -> Merged:
    """The JSON that ``settings.file`` names, or none, with our settings in it.

    Args:
        settings: of the DeepSpeed engine.
        learning_rate: the schedule's peak.
        batch_size: rows of an optimiser step, over all ranks; None compares none.
        ranks: of the trial.
        divisor: of the micro-batches, after a lack of memory.
        bf16: whether the trial calculates in bf16 where nothing is said.

    Raises:
        ValueError: with every problem, one a line.
    """
    merging = _Merging(settings, read(settings.file) if settings.file else {})
    result = merging.merge(learning_rate=learning_rate, batch_size=batch_size, ranks=ranks, divisor=divisor, bf16=bf16)
    if merging.problems:
        raise ValueError("\n".join(merging.problems))
    return result


class _Merging:
    """One pass over a JSON; what was found wrong is in ``problems``."""

    def __init__(self, settings: EngineConfig, content: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        self._settings = settings
        self._content = content
        self._where = settings.file or "the JSON"

    def merge(
        self, *, learning_rate: float, batch_size: int | None, ranks: int | None, divisor: int, bf16: bool | None
    ) -> Merged:
        settings = self._settings
        self._refuse_keys()
        zero = self._part("zero_optimization")
        stage = self._one("zero_optimization.stage", "zero_stage", settings.zero_stage, int)
        stage = 2 if stage is None else stage
        accumulation = self._one("gradient_accumulation_steps", "accumulation", settings.accumulation, int)
        accumulation = 1 if accumulation is None else accumulation
        clipping = self._one("gradient_clipping", "gradient_clipping", settings.gradient_clipping, (int, float))
        clipping = 1.0 if clipping is None else clipping
        for allowed, rule, value in (
            (stage in range(4), "a zero_optimization.stage of 0 to 3", stage),
            (accumulation >= 1, "gradient_accumulation_steps of at least 1", accumulation),
            (clipping > 0, "a gradient_clipping above 0", clipping),
        ):
            if not allowed:
                self._say("file", f"must have {rule}, but got {value}; correct {self._where}")
        accumulation = max(1, accumulation)
        precision = {"bf16": True, "fp32": False}.get(settings.precision or "")
        enabled = self._one("bf16.enabled", "precision", precision, bool)
        betas, eps = self._adamw(learning_rate)
        micro = self._batches(batch_size, ranks, accumulation)
        config = _without_auto({**self._content, "zero_optimization": {**zero, "stage": stage, **self._offload(stage)}})
        for key in ("optimizer", "train_batch_size"):
            config.pop(key, None)
        config["train_micro_batch_size_per_gpu"] = max(1, micro // divisor)
        config["gradient_accumulation_steps"] = accumulation * divisor
        config["gradient_clipping"] = clipping
        config["bf16"] = {**_without_auto(self._part("bf16")), "enabled": bool(bf16 if enabled is None else enabled)}
        config.setdefault("zero_allow_untested_optimizer", True)
        config["zero_force_ds_cpu_optimizer"] = False  # torch's AdamW steps on a CPU as well, without a compiler
        config.setdefault("steps_per_print", 2**62)
        return Merged(config, betas, eps, accumulation * divisor)

    def _refuse_keys(self) -> None:
        self._refuse_others(self._content, _KEYS, "DeepSpeed's keys for training on local ranks")
        self._refuse_others(self._part("optimizer"), ("type", "params"), "only type and params as optimizer")
        self._refuse_others(self._part("optimizer.params"), _PARAMS, f"only {', '.join(_PARAMS)} as optimizer.params")
        self._refuse_others(self._part("bf16"), ("enabled",), "only enabled as bf16, whose parameters stay in fp32")
        if "scheduler" in self._content:
            self._say("file", "must have no scheduler, but got one; set engine.warm_up and engine.schedule instead")
        for key, why in (
            ("fp16", "nothing here scales losses"),
            ("amp", "nothing here scales losses"),
            ("torch_autocast", "bf16 stands for it"),
        ):
            if self._part(key).get("enabled") is True:
                self._say("file", f"must leave out {key}, as {why}, but got enabled; take bf16")

    def _refuse_others(self, part: Mapping[str, Any], allowed: tuple[str, ...], rule: str) -> None:
        for key in part:
            if key not in allowed:
                hint = did_you_mean(key, allowed, "leave it out")
                self._say("file", f"must have {rule}, but got {key!r}; {hint}")

    def _adamw(self, learning_rate: float) -> tuple[tuple[float, float], float]:
        """Betas and eps of the JSON's optimiser; its learning rate and weight decay must be ours."""
        optimizer = self._part("optimizer")
        if optimizer and str(optimizer.get("type")).lower() not in ("adam", "adamw"):
            self._say("file", f"must have optimizer.type AdamW, but got {optimizer.get('type')!r}; write AdamW")
        params = self._part("optimizer.params")
        if params.get("adam_w_mode", True) not in (True, AUTO):
            self._say(
                "file",
                "must have true as optimizer.params.adam_w_mode, as engine.weight_decay is AdamW's, but got "
                f"{params['adam_w_mode']!r}; leave it out",
            )
        for key, name, ours in (
            ("lr", "fit.learning_rate", learning_rate),
            ("weight_decay", "engine.weight_decay", self._settings.weight_decay),
        ):
            if params.get(key, AUTO) not in (AUTO, ours):
                self._conflict(f"optimizer.params.{key}", params[key], name, ours)
        betas, eps = params.get("betas", AUTO), params.get("eps", AUTO)
        betas = [0.9, 0.999] if betas == AUTO else betas
        eps = 1e-8 if eps == AUTO else eps
        if not (isinstance(betas, list) and len(betas) == 2 and all(_is_number(b) and 0 <= b < 1 for b in betas)):
            self._say("file", f"must have two optimizer.params.betas from 0 to below 1, but got {betas!r}")
            betas = [0.9, 0.999]
        if not _is_number(eps) or eps < 0:
            self._say("file", f"must have an optimizer.params.eps of at least 0, but got {eps!r}")
            eps = 1e-8
        return (float(betas[0]), float(betas[1])), float(eps)

    def _batches(self, batch_size: int | None, ranks: int | None, accumulation: int) -> int:
        """Rows of a micro-batch, where the rows of a step are known."""
        if batch_size is None:
            return 1
        self._one("train_batch_size", "fit.batch_size", batch_size, int)
        if ranks is None:
            return batch_size
        if batch_size % (ranks * accumulation):
            self._say(
                "accumulation",
                f"times {ranks} ranks must divide fit.batch_size, but got {accumulation} and {batch_size}; change one",
            )
        micro = max(1, batch_size // (ranks * accumulation))
        self._one("train_micro_batch_size_per_gpu", "fit.batch_size / ranks / engine.accumulation", micro, int)
        return micro

    def _offload(self, stage: int) -> dict[str, Any]:
        """The JSON's two parts of offloading, once they agree with ``offload``."""
        parts = {}
        asked = self._settings.offload
        for key in _OFFLOAD["all"]:
            part = self._part(f"zero_optimization.{key}")
            device = part.get("device", "none")
            if device not in ("cpu", "none"):
                self._say("file", f"must offload to cpu or none, but got {key}.device {device!r}; write cpu")
            if asked is not None:
                wanted = "cpu" if key in _OFFLOAD[asked] else "none"
                if part and device != wanted:
                    self._conflict(f"zero_optimization.{key}.device", device, "engine.offload", asked)
                part, device = {**part, "device": wanted}, wanted
            if device == "cpu":
                parts[key] = part
                least = 3 if key == "offload_param" else 1
                if stage < least:
                    self._say("zero_stage", f"must be at least {least} where {key} is cpu, but got {stage}; raise it")
            elif part:
                parts[key] = {"device": "none"}
        return parts

    def _one(self, key: str, name: str, ours: Any, kind: type | tuple[type, ...]) -> Any:
        """The value that JSON and settings agree on; None where neither says one."""
        head, _, tail = key.rpartition(".")
        theirs = (self._part(head) if head else self._content).get(tail, AUTO)
        if theirs == AUTO or theirs is None:
            return ours
        if not isinstance(theirs, kind) or (isinstance(theirs, bool) and kind is not bool):
            wanted = {bool: "true or false", int: "an integer"}.get(kind, "a number")  # type: ignore[arg-type]
            self._say("file", f'must have {wanted} or "auto" as {key}, but got {theirs!r}; correct {self._where}')
            return ours
        if ours is not None and theirs != ours:
            said = self._settings.precision if name == "precision" else ours
            self._conflict(key, theirs, name if "." in name else f"engine.{name}", said)
        return theirs if ours is None else ours

    def _part(self, dotted: str) -> dict[str, Any]:
        """The JSON object at ``dotted``; {} where there is none."""
        part: Any = self._content
        for key in dotted.split("."):
            part = part.get(key)
            if part is None or part == AUTO:
                return {}
            if not isinstance(part, dict):
                self._say("file", f"must have an object as {dotted}, but got {part!r}; write {{...}}")
                return {}
        return dict(part)

    def _conflict(self, key: str, theirs: Any, name: str, ours: Any) -> None:
        self._say("file", f'must agree with {name} {ours}, but got {key} {theirs} in {self._where}; write "auto" there')

    def _say(self, field: str, problem: str) -> None:
        line = f"engine.{field}: {problem}"
        if line not in self.problems:
            self.problems.append(line)


def _without_auto(part: Mapping[str, Any]) -> dict[str, Any]:
    """``part`` without its "auto" values, for which DeepSpeed has defaults."""
    return {
        key: _without_auto(value) if isinstance(value, Mapping) else value
        for key, value in part.items()
        if value != AUTO
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
