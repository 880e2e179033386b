"""The sweeps that are shipped: each can be loaded, checked and, where it is a paper's table, has exactly its cells."""

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from platform.errors import InvalidSweep
from platform.space.check import open_sweep, space_of
from platform.sweepfile.parameters import Constant
from platform.sweepfile.published import Published, as_text
from platform.sweepfile.spec import load
from trainables.config import build
from trainables.floors.config import Config as Floors
from trainables.pad.config import Config as Pad
from trainables.spectran.config import Config as Spectran

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(str(file.relative_to(SWEEPS)) for file in SWEEPS.rglob("*.yaml"))
TABLES = [file for file in FILES if file.startswith("paper/")]
ELSEWHERE = {
    "hatllm-table3": {"sasrec", "dros", "kar", "llm_cf", "dllm2rec"},  # of other kinds, never on this loop
    "hatllm-table4": {"e4srec", "slmrec", "llara"},
}
"""Sweep -> methods that its paper printed and it does not train."""

PAD = [file for file in TABLES if "/pad_" in file]

SHARED = """
import json, sys
from trainables.config import build, settings_of
from trainables.pad.config import Config
from trainables.pad.phases import PRETRAIN_READS, align_settings

points = [build(Config, point) for point in json.load(sys.stdin)]
for read in (lambda point: settings_of(point, PRETRAIN_READS), align_settings):
    print(len({json.dumps(read(point), sort_keys=True) for point in points}))
"""


def published(file: str) -> Published:
    found = load(SWEEPS / file).published()
    assert found is not None
    return found


def told(file):
    """The sweep commands in a file's comment, each as the file it runs and its overrides."""
    lines = [line[1:].strip() for line in (SWEEPS / file).read_text().splitlines() if line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in joined if "python -m platform.sweep" in line]
    return [
        (
            line[line.index("platform.sweep") + 1].removeprefix("sweeps/"),
            [line[index + 1] for index, word in enumerate(line) if word == "--set"],
        )
        for line in words
    ]


def commands(file):
    """The commands in a file's comment that run the file itself, as lists of overrides."""
    return [overrides for other, overrides in told(file) if other == file]


@pytest.mark.parametrize("file", FILES)
def test_a_shipped_sweep_has_nothing_against_it_but_data_and_models_that_are_not_there(file, monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    try:
        open_sweep(SWEEPS / file)
    except InvalidSweep as error:
        absent = ("parameters.data.name: a data set is a folder", "parameters.llm.path: must be a folder or a name on")
        others = [text for text in error.problems if not any(start in text for start in absent)]
        assert others == []
    else:
        assert load(SWEEPS / file).parameters["data.name"] == Constant("synthetic")


@pytest.mark.parametrize("file", [file for file in FILES if load(SWEEPS / file).method == "grid"])
def test_the_trials_of_a_grid_are_as_many_as_its_points(file):
    spec = load(SWEEPS / file)
    assert sum(1 for _ in space_of(spec).grid()) == spec.num_trials


@pytest.mark.parametrize("file", FILES)
def test_the_commands_that_a_file_tells_are_sweeps_of_their_own_name_that_run_all_their_points(file):
    first, *others = commands(file)
    assert first == []
    assert {other for other, _ in told(file)} <= set(FILES)
    for overrides in others:
        spec = load(SWEEPS / file, overrides)
        assert spec.name != load(SWEEPS / file).name
        assert spec.method != "grid" or sum(1 for _ in space_of(spec).grid()) == spec.num_trials


@pytest.mark.parametrize("file", ["pad_kernels.yaml", "pad_experts.yaml"])
def test_the_floors_that_a_file_is_compared_with_have_its_protocol(file):
    ((other, overrides),) = [line for line in told(file) if line[0] != file]
    assert (other, overrides) in told(other)
    assert f"sweeps/{file} sweeps/{other} --set {overrides[0]}\n" in (SWEEPS / file).read_text()
    pad, floors = load(SWEEPS / file), load(SWEEPS / other, overrides)
    one, two = build(Pad, next(space_of(pad).grid())).data, build(Floors, next(space_of(floors).grid())).data
    assert (one.mask_seen, one.max_history) == (True, 20)
    assert one == two


@pytest.mark.parametrize("file", [file for file in FILES if "pad_" in file])
def test_the_real_commands_of_pad_have_nothing_against_them(file, real_data, monkeypatch):
    monkeypatch.setenv("SWEEP_DATA", str(real_data))
    _, overrides = commands(file)
    spec, _ = open_sweep(SWEEPS / file, overrides)
    assert spec.parameters["data.name"] == Constant("amazon-prime-pantry-2018")


@pytest.mark.parametrize("file", PAD)
def test_pads_tables_and_figures_have_its_protocol(file):
    spec = load(SWEEPS / file)
    assert [(metric.name, metric.goal) for metric in spec.metrics] == [("valid/hr_10", "maximize")]
    assert spec.early_stopping.type == "none"
    for point in space_of(spec).grid():
        protocol = (point["data.keep_last"], point["data.max_history"], point["data.mask_seen"])
        assert protocol == (23, 20, True)
        assert point["data.text"] == f"{point['data.name']}.minilm-l6-v2.npy"


@pytest.mark.parametrize(
    ("file", "trials"), [("pad_table2", 2), ("pad_table3", 2), ("pad_figure4", 1), ("pad_figure5", 1)]
)
def test_every_cell_of_pads_tables_and_figures_has_the_same_number_of_trials(file, trials):
    spec = load(SWEEPS / "paper" / f"{file}.yaml")
    assert spec.compare
    cells = Counter(tuple(as_text(point.get(name)) for name in spec.compare.by) for point in space_of(spec).grid())
    assert set(cells.values()) == {trials}


@pytest.mark.parametrize(
    ("file", "pretrainings", "alignments"),
    [
        ("pad_gamma.yaml", 2, 12),
        ("pad_kernels.yaml", 1, 6),
        ("pad_experts.yaml", 1, 1),
        ("paper/pad_figure4.yaml", 1, 4),
        ("paper/pad_figure5.yaml", 1, 5),
    ],
)
def test_trials_share_the_phases_that_a_file_says_they_share(file, pretrainings, alignments):
    """The trainable says what a phase reads, which needs torch; figure 4 by its settings, on each data set."""
    points = json.dumps([point | {"data.name": "synthetic"} for point in space_of(load(SWEEPS / file)).grid()])
    told = subprocess.run(
        [sys.executable, "-c", SHARED], input=points, cwd=SWEEPS.parent, capture_output=True, text=True
    )
    assert told.stdout.split() == [str(pretrainings), str(alignments)], told.stderr


@pytest.mark.parametrize("file", TABLES)
def test_the_cells_of_a_papers_table_are_those_it_printed(file):
    spec = load(SWEEPS / file)
    assert spec.compare is not None
    assert spec.compare.published is not None
    assert spec.path.stem == Path(spec.compare.published).stem
    trials = Counter(tuple(as_text(point.get(name)) for name in spec.compare.by) for point in space_of(spec).grid())
    printed = {cell for cell in published(file).values if not set(cell) & ELSEWHERE.get(spec.name, set())}
    assert set(trials) == printed
    assert len(printed) >= 2


def test_the_papers_methods_get_the_same_number_of_trials_in_each_cell():
    spec = load(SWEEPS / "paper" / "spectran_table2.yaml")
    points = Counter((point["backbone.name"], point["adapter.name"]) for point in space_of(spec).grid())
    assert {count for (backbone, _), count in points.items() if backbone == "bert4rec"} == {4 * 24 * 3}
    assert {count for (backbone, _), count in points.items() if backbone != "bert4rec"} == {4 * 24}


@pytest.mark.parametrize(
    "file", ["paper/spectran_table2.yaml", "paper/spectran_table4.yaml", "spectran_vs_baselines.yaml"]
)
def test_alphafuse_alone_has_the_patience_that_it_needs(file):
    points = list(space_of(load(SWEEPS / file)).grid())
    settings = {(point["adapter.name"] == "alphafuse", build(Spectran, point).fit.patience) for point in points}
    assert settings == {(True, 20), (False, 10)}


@pytest.mark.parametrize(
    ("file", "cell", "metric", "printed"),
    [
        ("spectran_table2", ("amazon-office-2014", "sasrec", "spectran"), "test/ndcg_20", 0.0612),
        ("spectran_table2", ("amazon-toys-2014", "bert4rec", "none"), "test/ndcg_10", 0.0189),
        ("spectran_table2", ("amazon-clothing-2014", "hstu", "whitenrec"), "test/hr_20", 0.0525),
        ("spectran_table3", ("amazon-office-2014", "sasrec", "spectran", "false", "taylor"), "test/ndcg_20", 0.0608),
        ("spectran_table3", ("amazon-beauty-2014", "hstu", "none", "", ""), "test/hr_10", 0.0509),
        ("spectran_table4", ("amazon-beauty-2014", "sasrec", "alphafuse", "16"), "test/hr_20", 0.0714),
        ("spectran_table5", ("amazon-toys-2014", "sasrec", "llm_esr"), "trial/seconds", 38.41),
        ("spectran_table6", ("amazon-office-2014", "sasrec", "spectran"), "trial/subordinate_weight", 52.93),
        ("pad_table2", ("amazon-prime-pantry-2018", "sasrec", "id"), "test/hr_10", 0.026338),
        ("pad_table2", ("amazon-electronics-2018", "sasrec", "make"), "test/ndcg_10", 0.004611),
        ("pad_table2", ("mind", "sasrec", "pad"), "test/hr_10", 0.186703),
        ("pad_table3", ("amazon-prime-pantry-2018", "caser", "id"), "test/ndcg_10", 0.004136),
        ("pad_table3", ("mind", "gru4rec", "pad"), "test/hr_10", 0.165762),
        ("pad_figure4", ("amazon-electronics-2018", "sasrec", "smem", ""), "test/ndcg_10", 0.014287),
        ("pad_figure5", ("mind", "sasrec", "pad", "gaussian", "all", "frequency"), "test/ndcg_10", 0.101515),
        ("hatllm_table3", ("amazon-beauty-2014", "hatllm"), "test/ndcg_5", 0.0194),
        ("hatllm_table3", ("amazon-games-2018", "llara"), "test/hr_10", 0.0502),
        ("hatllm_table4", ("amazon-clothing-2014", "llama3-8b", "bigrec"), "test/ndcg_10", 0.0129),
        ("hatllm_table5", ("amazon-beauty-2014", "bigrec", "", "", ""), "test/hr_10", 0.036),
        ("hatllm_table5", ("amazon-clothing-2014", "hatllm", "in_or_cr", "or", "last"), "test/ndcg_10", 0.0115),
        ("hatllm_table5", ("amazon-games-2018", "hatllm", "in_or_cr", "none", "sasrec"), "test/hr_10", 0.0466),
        ("hatllm_table5", ("amazon-games-2018", "hatllm", "cr_or_in", "none", "last"), "test/ndcg_10", 0.0266),
    ],
)
def test_what_was_printed_is_found_under_our_names(file, cell, metric, printed):
    assert published(f"paper/{file}.yaml").values[cell][metric] == printed


def test_the_papers_own_slip_is_noted():
    notes = published("paper/spectran_table4.yaml").notes
    assert list(notes) == [(name, "sasrec", "rlmrec", "128") for name in ("amazon-toys-2014", "amazon-beauty-2014")]


HATLLM = [file for file in TABLES if "/hatllm_" in file]


@pytest.mark.parametrize("file", HATLLM)
def test_hatllms_tables_and_figure_have_its_protocol(file):
    spec = load(SWEEPS / file)
    assert [(metric.name, metric.goal) for metric in spec.metrics] == [("valid/ndcg_10", "maximize")]
    assert spec.early_stopping.type == "none"
    for point in space_of(spec).grid():
        rows = [point[f"data.{name}"] for name in ("split", "keep_last", "max_history", "eval_rows")]
        assert rows == ["time", None, 10, 5000]
        steps = [point[f"fit.{name}"] for name in ("steps", "evaluate_every", "patience")]
        assert steps == [1600, 100, 2]
        if point["method.name"] in ("bigrec", "hatllm"):
            assert [point[f"lora.{name}"] for name in ("rank", "alpha", "dropout")] == [8, 16, 0.05]
            assert point["head.name"] == "item_table"


def test_each_method_of_hatllms_table_3_has_its_own_head_and_adapters():
    names = ("head.name", "lora.rank", "lora.alpha", "lora.dropout", "lora.targets")
    points = space_of(load(SWEEPS / "paper" / "hatllm_table3.yaml")).grid()
    assert {(point["method.name"], *(point[name] for name in names)) for point in points} == {
        ("lite_llm4rec", "linear", 8, 16, 0.05, "query_value"),
        ("e4srec", "linear", 16, 16, 0.05, "mlp"),
        ("slmrec", "item_table", 16, 16, 0.05, "mlp"),
        ("bigrec", "item_table", 8, 16, 0.05, "query_value"),
        ("llara", "item_table", 8, 32, 0.1, "all"),
        ("hatllm", "item_table", 8, 16, 0.05, "query_value"),
    }


@pytest.mark.parametrize("file", [file for file in FILES if "hatllm_" in file and file not in HATLLM])
def test_the_real_commands_of_hatllm_have_nothing_against_them(file, real_data, monkeypatch):
    monkeypatch.setenv("SWEEP_DATA", str(real_data))
    _, *others = commands(file)
    for overrides in others:
        spec, _ = open_sweep(SWEEPS / file, overrides)
        name = spec.parameters["data.name"]
        assert isinstance(name, Constant)
        assert str(name.value).startswith("amazon-")


@pytest.mark.parametrize("file", ["pad_figure4", "pad_figure5"])
def test_a_cell_without_a_printed_number_says_why(file):
    found = published(f"paper/{file}.yaml")
    silent = [cell for cell, values in found.values.items() if not values]
    assert silent
    assert all("bar" in found.notes[cell] for cell in silent)


def test_every_published_number_is_a_share_a_size_or_nothing():
    from platform.sweepfile.published import read

    files = sorted((SWEEPS / "paper" / "published").glob("*.csv"))
    assert len(files) == 13
    for file in files:
        told: list[str] = []
        by = [name for name in file.read_text().splitlines()[0].split(",") if "/" not in name and name != "note"]
        found = read(file, by, told.append)
        assert told == []
        assert found is not None
        for values in found.values.values():
            assert all(0 < value < 1 for name, value in values.items() if name.startswith("test/"))
            assert all(value > 0 for value in values.values())
