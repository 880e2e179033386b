"""A model's folder may come from anybody: its code is never run, its files are bounded and whole, or it is refused."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.worker.language.test_llm import saved
from trainables.language import llm, pretrained
from trainables.language.llm_config import Pretrained
from trainables.language.pretrained import SourceError

EVIL = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as far as it is read before it is loaded."""
    from tokenizers import Tokenizer, models

    config = {"model_type": "qwen3", "num_hidden_layers": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    save_file({"norm": np.ones(8, np.float32), "embed": np.ones((4, 8), np.float16)}, tmp_path / WEIGHTS)
    return tmp_path


def configured(folder: Path, **values: object) -> None:
    """Write more keys into the folder's configuration."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def with_header(folder: Path, change: Callable[[dict[str, dict[str, object]]], object]) -> None:
    """Write another header before the same weights."""
    content = (folder / WEIGHTS).read_bytes()
    end = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:end])
    change(header)
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + content[end:])


def sharded(folder: Path, name: str) -> None:
    """Have the weights in the file that an index names."""
    (folder / WEIGHTS).rename(folder / "part.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"norm": name}}))


def test_a_whole_folder_has_no_problem(folder: Path) -> None:
    assert pretrained.problem(str(folder), 3) is None
    sharded(folder, "part.safetensors")
    assert pretrained.problem(str(folder), 3) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda at: (at / "config.json").write_text("[]"), "config.json must be JSON, but .* holds list, no mapping"),
        (lambda at: (at / "config.json").write_text("[" * 99999), "config.json must be JSON, but .*maximum recursion"),
        (lambda at: (at / "config.json").write_bytes(b"\xff\xfe"), "config.json must be JSON"),
        (lambda at: (at / "config.json").write_text(" " * 2**25), r"config.json must be JSON, .* more than 16 MiB\)"),
        (lambda at: configured(at, layer_types=5), "every layer must have full attention, but got 5"),
        (lambda at: configured(at, layer_types=[{}, ["full"]]), r"every layer must have full .*, but got \['full'\]"),
        (lambda at: configured(at, _attn_implementation="owner/kernel"), "must name no code, but .* owner/kernel; rem"),
        (lambda at: (at / "tokenizer.json").write_text("{}"), "tokenizer.json must be a fast tok.*Model missing"),
        (lambda at: (at / "tokenizer.json").write_text("[" * 99999), "tokenizer.json must be a fast tokenizer, but"),
        (lambda at: (at / WEIGHTS).unlink(), f"must hold its weights as {WEIGHTS}, .*, but .* has no {WEIGHTS}"),
        (lambda at: (at / WEIGHTS).write_bytes(b""), "must be a whole safetensors file, but .* header too small"),
        (lambda at: (at / WEIGHTS).write_bytes(b"\xff" * 64), "must be a whole safetensors file, .* header too large"),
        (lambda at: with_header(at, lambda head: head["norm"].update(data_offsets=[64, 10**12])), "must be a whole"),
        (lambda at: with_header(at, lambda head: head["norm"].update(shape=[2**60, 2**60])), "must be a whole"),
        (lambda at: with_header(at, lambda head: head["norm"].update(dtype="I32")), "must be floats .* I32 for norm"),
        (lambda at: sharded(at, "../part.safetensors"), r"but .* has no \.\./part\.safetensors"),
        (lambda at: sharded(at, "gone.safetensors"), r"but .* has no gone\.safetensors"),
        (lambda at: (at / "adapter_config.json").write_text("{}"), "must be a whole model, but .* has adapter_config"),
    ],
)  # fmt: skip
def test_a_forged_folder_is_refused_before_it_is_loaded(
    folder: Path, change: Callable[[Path], object], message: str
) -> None:
    change(folder)
    problem = pretrained.problem(str(folder), 3) or ""
    assert problem.startswith("llm.path: ")
    with pytest.raises(SourceError, match=f"(?s){message}"):
        raise SourceError(problem)


def test_code_in_the_folder_is_never_run(tmp_path: Path) -> None:
    saved(tmp_path)
    evil = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    configured(tmp_path, auto_map=evil)
    for name in ("evil.py", "modeling_qwen3.py", "__init__.py"):
        (tmp_path / name).write_text(EVIL)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nabort\n(tR.")
    llm._from_path(Pretrained(path=str(tmp_path), num_layers=3, dtype="float32"))
    assert not list(tmp_path.glob("*.ran"))


def test_weights_that_are_not_there_are_never_made_up(tmp_path: Path) -> None:
    saved(tmp_path)
    settings = Pretrained(path=str(tmp_path), num_layers=3, dtype="float32")
    with_header(tmp_path, lambda head: head.update(other=head.pop("layers.0.self_attn.q_proj.weight")))
    with pytest.raises(SourceError, match=r"must hold all weights .* lacks layers\.0\.self_attn\.q_proj\.weight"):
        llm._from_path(settings)
    configured(tmp_path, hidden_size=10**12)
    with pytest.raises(SourceError, match="must be a model that transformers loads, but"):
        llm._from_path(settings)
