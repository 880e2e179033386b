"""Nothing that a sweep reads is unpickled or evaluated, and servers that we start listen to this machine alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "compile", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle"}
ALLOWED = {
    "platform/__init__.py": "the standard library's module of the same name is executed: its own source",
    "trainables/storage/checkpoint.py": "names pickle.UnpicklingError, which torch's safe reader raises",
}

OPEN_TO_ALL = re.compile(r"""--host[ ="',]+0\.0\.0\.0|\(["']0\.0\.0\.0["']|dashboard_host=["']0\.|bind\(\(["']["']""")


def unsafe(source: str) -> Iterator[str]:
    """Find code in ``source`` that could run data, as `line: code`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            yield from (f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] in UNSAFE_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in UNSAFE_CALLS or called.endswith(".read_pickle"):
            yield f"{node.lineno}: {called}"
        if called == "yaml.load" and "Loader" in given:
            yield f"{node.lineno}: yaml.load with {given['Loader']}"
        if called == "torch.load" and given.get("weights_only") != "True":
            yield f"{node.lineno}: torch.load without weights_only=True"
        if called in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
            yield f"{node.lineno}: {called} without allow_pickle=False"
        if called in ("np.save", "numpy.save") and given.get("allow_pickle") != "False":
            yield f"{node.lineno}: {called} without allow_pickle=False"


def sources() -> list[Path]:
    return sorted(path for package in ("platform", "trainables") for path in (ROOT / package).rglob("*.py"))


def test_no_source_runs_what_it_reads() -> None:
    found = {str(path.relative_to(ROOT)): list(unsafe(path.read_text("utf-8"))) for path in sources()}
    assert len(found) > 100
    assert {name: what for name, what in found.items() if what and name not in ALLOWED} == {}
    assert all(found[name] for name in ALLOWED)


def test_yaml_is_read_by_a_loader_that_makes_plain_values_only() -> None:
    import yaml

    from platform.sweepfile import yaml_lines

    loaders = [each for each in vars(yaml_lines).values() if isinstance(each, type) and issubclass(each, yaml.Loader)]
    safe = [each for each in vars(yaml_lines).values() if isinstance(each, type) and issubclass(each, yaml.SafeLoader)]
    assert loaders == []
    assert safe
    (problem,) = yaml_lines.read("name: !!python/object/apply:os.system ['true']\n").problems
    assert "python/object" in problem[1]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "pd.read_pickle(path)",
        "eval(text)",
    ],
)
def test_a_planted_violation_is_found(source: str) -> None:
    assert list(unsafe(source))


def test_readme_names_the_one_exception() -> None:
    assert "one exception is Optuna's own CMA-ES state" in (ROOT / "README.md").read_text("utf-8").replace("\n", " ")


def test_no_server_that_we_start_listens_to_other_machines() -> None:
    texts = [*sources(), *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / ".ci").rglob("*"))]
    texts.remove(Path(__file__))
    found = [str(path) for path in texts if path.is_file() and OPEN_TO_ALL.search(path.read_text("utf-8"))]
    assert found == []
    for planted in ('["mlflow", "server", "--host", "0.0.0.0"]', 'probe.bind(("", 0))'):
        assert OPEN_TO_ALL.search(planted)


def test_every_line_on_security_names_its_tests() -> None:
    page = (ROOT / "infra" / "SECURITY.md").read_text("utf-8")
    rows = [line.split("|")[-2] for line in page.splitlines() if line.startswith("|") and "---" not in line]
    named = [re.findall(r"`(test_\w+)`", row) for row in rows if row.strip() != "test"]
    assert len(named) > 15
    assert all(named)
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", page) if f"def {name}(" not in tests] == []
