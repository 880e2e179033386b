"""Shared results: the key is the function and its inputs and nothing else; computed once; never half there."""

import functools
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from trainables.storage.stages import MANIFEST, File, StageResult, Stages, _publish, _try_lock, stage, stage_key


@stage(version=1)
def scaled(values, factor):
    """Count its calls in a file, so that other processes' calls are seen too."""
    if os.environ.get("STAGE_CALLS"):
        with open(os.environ["STAGE_CALLS"], "a") as stream:
            stream.write("x")
    return {"scaled": np.asarray(values, dtype=np.float32) * factor}


@stage(version=1)
def shifted(values, factor):
    """The same inputs, another function."""
    return {"scaled": np.asarray(values, dtype=np.float32) + factor}


@stage(version=1)
def summed(before, names):
    """Read a result and a file."""
    return {"sum": before["scaled"].sum(keepdims=True), "length": np.array([len(names.read_text())])}


@stage(version=1)
def breaks(path):
    """Fail after a part of the work."""
    raise RuntimeError("half way")


@stage(version=1)
def objects():
    """Return what must not be stored."""
    return {"good": np.zeros(2), "bad": np.array([{}], dtype=object)}


def unmarked(values):
    """No stage."""
    return {"x": values}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calls"
    path.write_text("")
    monkeypatch.setenv("STAGE_CALLS", str(path))
    return path


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(tmp_path / "stages")


def test_a_result_is_computed_once_and_read_memory_mapped_ever_after(stages, calls):
    for _ in range(3):
        result = stages.get(scaled, {"values": [1, 2], "factor": 3})
        assert isinstance(result["scaled"], np.memmap)
        assert result["scaled"].tolist() == [3.0, 6.0]
        with pytest.raises(ValueError, match="read-only"):
            result["scaled"][0] = 1
    assert calls.read_text() == "x"


def test_a_damaged_array_is_told_with_its_remedy(stages):
    result = stages.get(scaled, {"values": [1, 2], "factor": 3})
    with (result.folder / "scaled.npy").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ValueError, match=r"a shared result must be whole, but of scaled.npy .*; remove the"):
        stages.get(scaled, {"values": [1, 2], "factor": 3})["scaled"]


@pytest.mark.parametrize(
    "other",
    [{"values": [1, 2], "factor": 4}, {"values": [2, 1], "factor": 3}, {"values": [1, 2], "factor": "3"}],
)
def test_another_input_has_another_key(other):
    assert stage_key(scaled, other) != stage_key(scaled, {"values": [1, 2], "factor": 3})


def test_the_order_in_which_inputs_are_named_does_not_matter():
    one, other = {"values": [1], "factor": 3}, {"factor": 3, "values": [1]}
    assert stage_key(scaled, one) == stage_key(scaled, other)


def test_another_function_or_version_has_another_key(monkeypatch):
    inputs = {"values": [1], "factor": 3}
    before = stage_key(scaled, inputs)
    assert stage_key(shifted, inputs) != before
    monkeypatch.setattr(scaled, "version", 2)
    assert stage_key(scaled, inputs) != before


def test_what_a_stage_does_not_read_cannot_change_its_key_for_it_never_gets_there(stages):
    """A trial's other parameters are in no key: a stage receives its named inputs only."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'dropout'"):
        stages.get(scaled, {"values": [1], "factor": 3, "dropout": 0.1})


def test_a_file_counts_by_its_content_not_its_place(tmp_path):
    first, copy, other = (tmp_path / name for name in ("a.txt", "b.txt", "c.txt"))
    first.write_text("titles")
    copy.write_text("titles")
    other.write_text("other titles")
    keys = [stage_key(scaled, {"values": File(path), "factor": 1}) for path in (first, copy, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_file_is_read_again_only_once_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(b"first")
    stat = path.stat()
    before = File(path).fingerprint
    path.write_bytes(b"other")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert File(path).fingerprint == before, "size and time of change are the same: it was not read"
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = File(path).fingerprint
    assert after != before
    path.write_bytes(b"longer than before")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert File(path).fingerprint not in (before, after)


def test_a_result_counts_by_what_it_was_made_from_and_a_file_reaches_the_stage_as_a_path(stages, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("abc")
    one, other = (stages.get(scaled, {"values": [1, 2], "factor": factor}) for factor in (1, 2))
    first = stages.get(summed, {"before": one, "names": File(names)})
    second = stages.get(summed, {"before": other, "names": File(names)})
    assert first.fingerprint != second.fingerprint
    assert (first["sum"].item(), second["sum"].item(), first["length"].item()) == (3.0, 6.0, 3)
    assert sorted(first) == ["length", "sum"]
    assert len(first) == 2
    with pytest.raises(KeyError):
        first["mean"]


def test_an_input_without_a_stable_fingerprint_is_refused_by_name(stages, tmp_path):
    with pytest.raises(TypeError, match=r"must be a plain value, a File or a StageResult, but values is PosixPath"):
        stages.get(scaled, {"values": tmp_path, "factor": 1})
    with pytest.raises(TypeError, match="but values is ndarray"):
        stages.get(scaled, {"values": np.zeros(2), "factor": 1})


def test_a_function_that_is_not_marked_is_refused(stages):
    with pytest.raises(TypeError, match=r"must be marked with @stage\(version=...\), but unmarked is not"):
        stages.get(unmarked, {"values": 1})


def test_a_stage_that_fails_leaves_nothing_and_is_computed_when_asked_again(stages, tmp_path):
    with pytest.raises(RuntimeError, match="half way"):
        stages.get(breaks, {"path": "x"})
    assert [path.suffix for path in stages.folder.iterdir()] == [".lock"]


def test_arrays_of_python_objects_are_refused_and_no_half_result_is_seen(stages):
    for _ in range(2):
        with pytest.raises(ValueError, match="Object arrays cannot be saved when allow_pickle=False"):
            stages.get(objects, {})


def test_a_folder_that_a_crash_left_without_its_manifest_is_made_anew(stages, calls):
    inputs = {"values": [1, 2], "factor": 3}
    folder = stages.folder / stage_key(scaled, inputs)
    folder.mkdir(parents=True)
    (folder / "scaled.npy").write_bytes(b"half")
    assert stages.get(scaled, inputs)["scaled"].tolist() == [3.0, 6.0]
    assert (folder / MANIFEST).exists()
    assert calls.read_text() == "x"


def test_another_stages_object_over_the_same_folder_finds_the_result(stages, calls):
    first = stages.get(scaled, {"values": [1], "factor": 2})
    again = Stages(stages.folder).get(scaled, {"values": [1], "factor": 2})
    assert again.fingerprint == first.fingerprint
    assert isinstance(again, StageResult)
    assert calls.read_text() == "x"


def _get(
    folder: str, start: "multiprocessing.synchronize.Event", results: "multiprocessing.Queue[list[float]]"
) -> None:
    start.wait(30)
    results.put(Stages(Path(folder)).get(scaled, {"values": [1, 2], "factor": 3})["scaled"].tolist())


def test_processes_that_ask_at_once_compute_once(stages, calls):
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    asking = [context.Process(target=_get, args=(str(stages.folder), start, results)) for _ in range(4)]
    for process in asking:
        process.start()
    start.set()
    assert [results.get(timeout=30) for _ in asking] == [[3.0, 6.0]] * 4
    for process in asking:
        process.join()
    assert calls.read_text() == "x"


@stage(version=1)
def reported(values, say, weight=1):
    """Tell the context, which is no part of the result."""
    say(f"computes {values}")
    return {"sum": np.array([sum(values) * weight])}


@stage(version=1)
def tallied(total, folder, stop_at):
    """Count to `total` with a file for each step done; fail before the step `stop_at`."""
    for step in range(len(list(folder.iterdir())), total):
        if step == stop_at:
            raise RuntimeError(f"stopped before step {step}")
        (folder / str(step)).touch()
    return {"steps": np.array([total])}


@stage(version=1)
def itself(stages, depth):
    """Ask for another result, and at depth 0 for its own."""
    stages.get(itself, {"depth": max(depth - 1, 0)}, context={"stages": stages})
    return {"depth": np.array([depth])}


def test_the_context_reaches_the_stage_and_no_key(stages):
    said: list[str] = []
    for say in (said.append, None):  # the second is never called: there is a result
        result = stages.get(reported, {"values": [1, 2]}, context={"say": say})
        assert result["sum"].tolist() == [3]
        assert result.fingerprint == stage_key(reported, {"values": [1, 2]})
    assert said == ["computes [1, 2]"]


@pytest.mark.parametrize(
    ("context", "scratch", "name"),
    [({"values": 1}, False, "values"), ({"folder": 1}, True, "folder")],
)
def test_an_argument_has_one_source_though_there_is_a_result_already(stages, context, scratch, name):
    stages.get(scaled, {"values": [1], "factor": 2})
    rule = "must come from its inputs, its context or its scratch folder"
    with pytest.raises(TypeError, match=f"{rule}, but {name} of scaled comes from two of them; rename one"):
        stages.get(scaled, {"values": [1], "factor": 2}, context=context, scratch=scratch)


def test_work_that_failed_half_way_is_carried_on_from_its_scratch_folder_which_goes_when_there_is_a_result(stages):
    inputs = {"total": 5}
    scratch = stages.folder / f"{stage_key(tallied, inputs)}.scratch"
    with pytest.raises(RuntimeError, match="stopped before step 3"):
        stages.get(tallied, inputs, context={"stop_at": 3}, scratch=True)
    assert sorted(path.name for path in scratch.iterdir()) == ["0", "1", "2"]
    assert sorted(path.suffix for path in stages.folder.iterdir()) == [".lock", ".scratch"]
    result = stages.get(tallied, inputs, context={"stop_at": 2}, scratch=True)  # step 2 is not done again
    assert result["steps"].tolist() == [5]
    assert not scratch.exists()


def test_a_scratch_folder_that_a_crash_left_beside_its_result_is_removed_by_the_next_who_asks(stages):
    inputs = {"total": 1}
    for _ in range(2):
        result = stages.get(tallied, inputs, context={"stop_at": None}, scratch=True)
        assert sorted(path.suffix for path in stages.folder.iterdir()) == ["", ".lock"]
        left = result.folder.with_name(f"{result.folder.name}.scratch")
        left.mkdir()
        (left / "0").touch()


def test_a_stage_that_asks_for_its_own_result_is_refused_and_one_that_asks_for_another_is_not(stages):
    with pytest.raises(RuntimeError, match=r"must not need its own result, but itself asks for itself-\w{24} while"):
        stages.get(itself, {"depth": 2}, context={"stages": Stages(stages.folder)})
    assert {path.suffix for path in stages.folder.iterdir()} == {".lock"}


def test_a_result_that_comes_between_the_look_and_the_lock_is_not_computed_again(stages, calls, monkeypatch):
    inputs = {"values": [1, 2], "factor": 3}
    folder = stages.folder / stage_key(scaled, inputs)

    def late(lock):
        _publish(folder, scaled, inputs)
        return _try_lock(lock)

    monkeypatch.setattr("trainables.storage.stages._try_lock", late)
    assert stages.get(scaled, inputs)["scaled"].tolist() == [3.0, 6.0]
    assert calls.read_text() == "x"


def test_where_a_lock_was_lost_the_first_result_stays_and_the_second_is_dropped(stages):
    """As over NFS after a partition: another node has published while this one still computed."""
    inputs = {"values": [1, 2], "factor": 3}
    folder = stages.folder / stage_key(scaled, inputs)

    @functools.wraps(scaled)
    def overtaken(values, factor):
        _publish(folder, scaled, inputs)
        return {"scaled": np.full(2, 9.0)}

    assert stages.get(overtaken, inputs)["scaled"].tolist() == [3.0, 6.0]
    assert sorted(path.name for path in stages.folder.iterdir()) == [folder.name, f"{folder.name}.lock"]
