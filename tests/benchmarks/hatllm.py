"""The cost of HatLLM's masks, a trial's start and the head, each beside its peer in the same run.

    python -m tests.benchmarks.hatllm

* an optimiser step with one mask per layer ÷ one without masks, the same model, rows and engine, steps interleaved;
* a second trial's start on a warm worker (to its first report: one step, a few rows ranked) ÷ the first one's;
* memory that the head's loss takes beside its table, over the number of items ÷ the same for the fewest;
* with CUDA: tokens per second and model FLOPs utilisation of Llama 3.2 1B and 3B with random weights in bf16, with
  masks (PyTorch's kernel, and FlexAttention's block masks) and without.

Exits with 1 where a bound does not hold.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaModel

from trainables.config import build
from trainables.data.batches import batches
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.hatllm.config import Config
from trainables.hatllm.head import ItemTableHead, cross_entropy
from trainables.hatllm.plan import layer_plan
from trainables.hatllm.reader import LastToken
from trainables.hatllm.recommender import Recommender
from trainables.language.attention import use_layered
from trainables.language.engines.engine import Engine, make_engine
from trainables.language.engines.engine_config import EngineConfig
from trainables.language.llm import adapted, pieces
from trainables.language.llm_config import Lora
from trainables.language.prompts import Prompt, Prompts
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

ROOT = Path(__file__).parents[2]
BOUNDS = {"masks": 1.02, "start": 0.2, "head": 1.1}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 8, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 2048},
    "Llama-3.2-1B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                     "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256},
    "Llama-3.2-3B": {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
                     "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 128_256},
}  # fmt: skip
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "4090": 165.0}
"""Of dense bf16 matrix products, from the vendor's data sheets."""
START = {"llm.pretrain_steps": 20, "sasrec.epochs": 1, "fit.steps": 1, "fit.evaluate_every": 1, "data.eval_rows": 8,
         "data.split": "time", "data.keep_last": None, "diagnostics.rows": 0, "fit.batch_size": 4}  # fmt: skip


def case(shape: str, masks: str, device: str, folder: Path) -> Engine:
    """An engine over a model of ``shape`` with random weights; ``masks``: `sdpa` or `flex`, one a layer, or `none`."""
    torch.manual_seed(0)
    with torch.device(device):  # billions of random numbers are a GPU's work
        base = LlamaModel(LlamaConfig(**SHAPES[shape])).requires_grad_(False)
    if device != "cpu":
        base.bfloat16()
    use_layered(base)
    layers, width = base.config.num_hidden_layers, base.config.hidden_size
    shallow, deep = (0, 0) if masks == "none" else (layers // 4, layers // 8)
    generator = torch.Generator().manual_seed(0)
    head = ItemTableHead(torch.randn(12_087, 128, generator=generator), width, generator=generator)
    plan = layer_plan(layers, shallow=shallow, deep=deep)
    llm, flex = adapted(base, Lora(), seed=0), masks == "flex"
    model = Recommender(llm, plan=plan, reader=LastToken(width), head=head, flex=flex).to(device)
    trial = LocalTrial(folder, device=device)
    return make_engine(model, EngineConfig(name="torch"), learning_rate=1e-4, steps=1000, trial=trial)


def batch(folder: Path, rows: int, device: str) -> tuple[Prompt, torch.Tensor]:
    """Prompts and targets of the synthetic data set's training rows."""
    config = build(Config, {**START, "data.max_history": 10})
    trial = LocalTrial(folder, stages=Stages(folder / "stages"))
    train = split(load(config.data, trial.stages), config.data).train
    part = next(batches(train, rows, torch.Generator().manual_seed(0), device))
    return Prompts(pieces(config.llm, config.data, config.prompt, trial))(part.history_BL), part.target_B


def step(engine: Engine, prompt: Prompt, target_B: torch.Tensor) -> float:
    """Seconds of one optimiser step."""
    began = time.perf_counter()
    engine.backward(engine.module(prompt, target_B))
    engine.step()
    if target_B.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def steps(
    shape: str, kinds: Sequence[str], rows: int, rounds: int, device: str, folder: Path
) -> tuple[dict[str, list[float]], int]:
    """Seconds of steps with each of ``kinds`` of masks, interleaved in turn, and tokens of a step."""
    prompt, target_B = batch(folder, rows, device)
    engines = {masks: case(shape, masks, device, folder) for masks in kinds}
    for engine in [*engines.values()] * 2:
        step(engine, prompt, target_B)
    seconds: dict[str, list[float]] = {masks: [] for masks in kinds}
    for number in range(rounds):
        for masks in kinds if number % 2 else reversed(kinds):
            seconds[masks].append(step(engines[masks], prompt, target_B))
    return seconds, int(prompt.spans.real_BT.sum())


def starts(engine: str) -> list[float]:
    """Seconds to the first report of three trials in a new process; what trials share on disk is there already."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # the first process makes the stages
            command = [sys.executable, "-m", "tests.benchmarks.hatllm", "--start", folder, "--engine", engine]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def start(folder: Path, engine: str, device: str, began: float) -> None:
    """Three trials in this process; prints the seconds to each one's first report, the first's from ``began``."""
    from trainables.runtime.worker import run_trial

    for seed in range(3):
        reported: list[float] = []
        trial = LocalTrial(
            Path(tempfile.mkdtemp(dir=folder)),
            stages=Stages(folder / "stages"),
            device=device,
            send=lambda *_, reported=reported: reported.append(time.time()),
        )
        run_trial("hatllm", {**START, "engine.name": engine, "fit.learning_rate": 1e-3 * (1 + seed)}, trial)
        sys.stdout.write(f"{reported[0] - began}\n")
        began = time.time()


def head_mib(items: int, device: str, rows: int = 64, width: int = 128) -> float:
    """MiB of tensors that the head's loss holds at once, forward and backward, beside its table."""
    table_ID = torch.randn(items, width, device=device)
    state_BD = torch.randn(rows, width, device=device, requires_grad=True)
    target_B = torch.randint(1, items, (rows,), device=device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        cross_entropy(state_BD, table_ID, target_B, chunk=8192).backward()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        cross_entropy(state_BD, table_ID, target_B, chunk=8192).backward()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held) / 2**20


def utilisation(shape: str, tokens: int, seconds: float) -> str:
    """Model FLOPs utilisation: 4 FLOPs a weight and token, as frozen weights take no gradient, over the card's peak."""
    kind = SHAPES[shape]
    width, heads = kind["hidden_size"], kind["num_attention_heads"]
    pairs = width * width * 2 + 2 * width * (width // heads) * kind["num_key_value_heads"]
    weights = kind["num_hidden_layers"] * (pairs + 3 * width * kind["intermediate_size"])
    name = torch.cuda.get_device_name()
    peak = next((tflops for card, tflops in PEAK_TFLOPS.items() if card in name), None)
    used = 4 * weights * tokens / seconds / 1e12
    return f"{used:.0f} TFLOP/s" + (f", {used / peak:.0%} of {name}" if peak else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--rows", type=int, default=16, help="of a step")
    parser.add_argument("--engine", default="deepspeed", choices=("deepspeed", "torch"), help="of the starts")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if options.start:
        start(options.start, options.engine, device, psutil.Process(os.getpid()).create_time())
        return 0
    table = Table("what", "result", "bound")
    broken = []

    def line(name: str, what: str, ratio: float, more: str) -> None:
        table.add_row(what, f"{ratio:.3f} ({more})", f"{BOUNDS[name]:g}")
        broken.extend([name] if ratio > BOUNDS[name] else [])

    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = steps("tiny", ["sdpa", "none"], options.rows, options.rounds, device, Path(folder))
        masked, plain = seconds["sdpa"], seconds["none"]
        ratio = statistics.median(one / other for one, other in zip(masked, plain, strict=True))
        more = f"{1e3 * statistics.median(masked):.1f} and {1e3 * statistics.median(plain):.1f} ms"
        line("masks", "a step with a mask a layer ÷ one without", ratio, more)
        first, *later = starts(options.engine)
        line("start", f"a start on a warm worker ÷ the first ({options.engine})", later[-1] / first,
             f"{later[-1]:.2f} and {first:.2f} s")  # fmt: skip
        sizes = {items: head_mib(items, device) for items in (20_000, 200_000, 1_000_000)}
        line("head", "the head's memory, 1,000,000 items ÷ 20,000", sizes[1_000_000] / sizes[20_000],
             ", ".join(f"{mib:.1f} MiB" for mib in sizes.values()))  # fmt: skip
        for shape in [name for name in SHAPES if name != "tiny"] if device != "cpu" else []:
            kinds = ["sdpa", "flex", "none"]
            seconds, tokens = steps(shape, kinds, 4 * options.rows, options.rounds // 6, device, Path(folder))
            for masks, times in seconds.items():
                took = statistics.median(times)
                speed = f"{tokens / took:,.0f} tokens a second, {utilisation(shape, tokens, took)}"
                table.add_row(f"{shape}, random weights, masks: {masks}", speed, "")
            torch.cuda.empty_cache()
    console = Console()
    console.print(table)
    if device == "cpu":
        console.print("Llama 3.2 1B and 3B are left out: no CUDA here.")
    if broken:
        console.print(f"bounds that do not hold: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
