"""Our package `platform` is the standard library's module to everybody else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(*arguments: str, path: tuple[Path, ...] = (ROOT,), cwd: Path | None = None) -> str:
    """Return the output of a fresh interpreter with `path` first on its `sys.path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


COMPARE = """
import importlib.util, json, os, sys
import platform as ours
spec = importlib.util.spec_from_file_location("platform_std", os.path.join(os.path.dirname(os.__file__), "platform.py"))
std = importlib.util.module_from_spec(spec)
spec.loader.exec_module(std)
assert ours.__path__, "not ours"
names = [name for name in vars(std) if not name.startswith("__")]
missing = [name for name in names if not hasattr(ours, name)]
extra = [name for name in vars(ours) if not name.startswith("__") and name not in names]
kinds = [name for name in names if type(getattr(ours, name)) is not type(getattr(std, name))]
calls = ["architecture", "machine", "node", "platform", "processor", "python_build", "python_compiler",
         "python_implementation", "python_version", "python_version_tuple", "release", "system", "version", "libc_ver",
         "mac_ver", "win32_ver", "uname", "python_branch", "python_revision"]
def answer(module, name):
    value = getattr(module, name)()
    return tuple(value) if isinstance(value, tuple) else value
differ = [name for name in calls if hasattr(std, name) and answer(ours, name) != answer(std, name)]
print(json.dumps([missing, extra, kinds, differ, len(names) > 60]))
"""


def test_every_name_of_the_standard_module_is_there_and_behaves() -> None:
    assert python("-c", COMPARE) == "[[], [], [], [], true]"


def test_nothing_of_ours_is_imported_and_submodules_are_found() -> None:
    code = (
        "import platform, sys; before = [m for m in sys.modules if m.startswith('platform.')]; "
        "import platform.errors; print(before, platform.errors.SweepError.exit_code, platform.__name__)"
    )
    assert python("-c", code) == "[] 1 platform"


def test_patching_and_pickling_work_as_on_the_standard_module() -> None:
    code = """
import pickle, platform, sys, uuid
from unittest import mock
with mock.patch("platform.system", return_value="Elsewhere"), mock.patch.object(platform, "_uname_cache", None):
    assert platform.system() == "Elsewhere"
assert platform.system() != "Elsewhere"
assert pickle.loads(pickle.dumps(platform.uname())) == platform.uname()
assert pickle.loads(pickle.dumps(platform.python_version)) is platform.python_version
print(platform.uname().system == platform.system(), platform.system.__module__)
"""
    assert python("-c", code) == "True platform"


def test_a_named_tuple_pickled_by_ours_is_read_by_the_standard_module_and_back(tmp_path: Path) -> None:
    write = f"import pickle, platform; pickle.dump(platform.uname(), open({str(tmp_path / 'u')!r}, 'wb'))"
    load = f"import pickle, platform; print(pickle.load(open({str(tmp_path / 'u')!r}, 'rb')) == platform.uname())"
    python("-c", write)
    assert python("-c", load, path=()) == "True"
    python("-c", write, path=())
    assert python("-c", load) == "True"


@pytest.mark.parametrize("package", ["uuid", "pytest", "pydantic", "optuna", "torch", "ray.tune", "mlflow"])
def test_dependencies_import_on_top_of_it(package: str) -> None:
    assert python("-c", f"import {package}, platform; print(bool(platform.__path__))") == "True"


def test_two_copies_of_the_repository_on_the_path(tmp_path: Path) -> None:
    copies = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "platform").symlink_to(ROOT / "platform")
        copies.append(tmp_path / name)
    code = "import platform; print(platform.python_version(), platform.__path__[0])"
    out = python("-c", code, path=(*copies, ROOT), cwd=tmp_path)
    assert out == f"{'.'.join(map(str, sys.version_info[:3]))} {copies[0]}/platform"


def test_python_dash_m_finds_our_commands(tmp_path: Path) -> None:
    assert python("-m", "platform.sweepfile.schema", path=(), cwd=ROOT).startswith("{")


def test_an_interpreter_without_our_root_has_the_standard_module(tmp_path: Path) -> None:
    code = "import platform; print(hasattr(platform, '__path__'))"
    assert python("-c", code, path=(), cwd=tmp_path) == "False"


def test_it_brings_in_no_module_that_the_standard_one_does_not(tmp_path: Path) -> None:
    code = "import importlib.machinery, sys; had = {*sys.modules}; import platform; print(sorted({*sys.modules} - had))"
    ours = python("-c", code)
    assert "'platform'" in ours
    assert ours == python("-c", code, path=(), cwd=tmp_path)


RAY = """
import os, sys
import ray
code = '''
import platform, sys
answer = [hasattr(platform, "__path__"), platform.system(), "platform.errors" in sys.modules]
try:
    import platform.errors
    answer.append("ours")
except ImportError:
    answer.append("standard")
'''
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1],
         runtime_env={{"working_dir": {root!r}}} if {ours} else None)
@ray.remote
def ask():
    scope = {{}}
    exec(code, scope)
    return scope["answer"]
try:
    print(ray.get(ask.remote()))
finally:
    ray.shutdown()
"""


@pytest.mark.slow
@pytest.mark.parametrize("ours", [True, False])
def test_both_kinds_of_ray_worker_have_a_whole_platform_module(ours: bool, tmp_path: Path) -> None:
    """Under `working_dir` a worker has our package; a driver elsewhere starts workers with the standard module."""
    import shutil
    import tempfile

    root = tmp_path / "copy"  # what a job would send: the packages, without the repository's other files
    shutil.copytree(ROOT / "platform", root / "platform", ignore=shutil.ignore_patterns("__pycache__"))
    script = tmp_path / "ask.py"
    script.write_text(RAY.format(root=str(root), ours=ours))
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a socket's path has to be short
    try:
        out = python(str(script), folder, path=(ROOT,) if ours else (), cwd=tmp_path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    system = os.uname().sysname
    assert out.splitlines()[-1] == str([ours, system, False, "ours" if ours else "standard"])
