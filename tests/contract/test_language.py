"""Language that is read once: rules that a program can check, and counts that may only fall.

Docstrings of all code and every Markdown page are read, but for `infra/decisions`, which are kept as they were written.
"""

import ast
import functools
import re
from collections.abc import Iterator

import pytest

from tests.pages import ROOT, pages

CODE = ("platform", "trainables", "tests")
QUESTIONS = {"What", "Whether", "Which", "Whose", "How", "Where", "Why", "Who"}
LONGEST = 25
"""Words of a sentence."""
README_LINES = 150

CEILINGS = {
    "questions": 0,
    "questions below fields": 0,
    "questions in tests": 0,
    "a X a Y": 0,
    "long sentences": 0,
    "semicolons": 0,
}
"""Violations of each rule that are left. Whoever removes one lowers the number."""


DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """The docstrings of a file, each with its kind: `definition` (module, class, function) or `field`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield "definition", text
        if isinstance(node, ast.Module | ast.ClassDef):
            for field, below in zip(node.body, node.body[1:], strict=False):
                match field, below:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str(text))):
                        yield "field", text


def is_question(docstring: str) -> bool:
    """Tell whether a docstring begins with a question word, where it should name a thing or an act."""
    return re.split(r"\W", docstring.strip(), maxsplit=1)[0] in QUESTIONS


def twins(text: str) -> list[str]:
    """Find rates without `per`, such as a mask where `one` and `per layer` are meant."""
    return re.findall(r"\ban? [\w-]+ an? [\w-]+", " ".join(text.split()))


def sentences(page: str) -> Iterator[str]:
    """Every sentence of a Markdown page; code counts as one word, a heading, list entry or table cell stands alone."""
    page = re.sub(r"^( *)```.*?^\1```$", "", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"(`+).+?\1", "code", re.sub(r"^    .*$|<!--.*?-->", "", page, flags=re.MULTILINE), flags=re.DOTALL)
    page = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", page)
    page = re.sub(r"^\s*(#+ |[-*] |\d+\. |> )", "\n\n", page, flags=re.MULTILINE)
    page = re.sub(r"^\|.*\|$", lambda row: row[0].replace("|", "\n\n"), page, flags=re.MULTILINE)
    for part in re.split(r"\n\s*\n", page):
        yield from (
            " ".join(text.split()) for text in re.split(r"(?<=[.!?])\s+", part.strip()) if re.search(r"\w", text)
        )


def is_long(sentence: str) -> bool:
    """Tell whether a sentence has more words than one reads at once."""
    return sum(any(letter.isalnum() for letter in word) for word in sentence.split()) > LONGEST


@functools.cache
def violations() -> dict[str, list[str]]:
    """Find what breaks each rule, as `file: text`."""
    broken: dict[str, list[str]] = {rule: [] for rule in CEILINGS}
    for file in sorted(path for name in CODE for path in (ROOT / name).rglob("*.py")):
        name = str(file.relative_to(ROOT))
        for kind, text in docstrings(file.read_text("utf-8")):
            if is_question(text):
                rule = "questions in tests" if name.startswith("tests") else "questions"
                rule = "questions below fields" if kind == "field" and rule == "questions" else rule
                broken[rule].append(f"{name}: {text.splitlines()[0]}")
            broken["a X a Y"] += [f"{name}: {words}" for words in twins(text)]
    for page in pages():
        name = str(page.relative_to(ROOT))
        for sentence in sentences(page.read_text("utf-8")):
            broken["a X a Y"] += [f"{name}: {words}" for words in twins(sentence)]
            broken["long sentences"] += [f"{name}: {sentence}"] if is_long(sentence) else []
            broken["semicolons"] += [f"{name}: {sentence}"] * sentence.count(";")
    return broken


@pytest.mark.parametrize(("rule", "ceiling"), CEILINGS.items())
def test_violations_only_fall(rule: str, ceiling: int) -> None:
    broken = violations()[rule]
    assert len(broken) <= ceiling, "\n".join(broken)
    assert len(broken) == ceiling, f"only {len(broken)} are left: lower the ceiling of {rule!r} to that"


def test_readme_is_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES
    assert len(pages()) >= 9


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        ('"""What a disk may lack."""', ["definition"]),
        ('class A:\n    """A thing."""\n    x: int\n    """Whether it is there."""', ["field"]),
        ('def f():\n    """How, in short: by hand."""', ["definition"]),
        ('x = 1\n"""Where it lies."""', ["field"]),
        ('async def f():\n    """Wait for free disk space."""', []),
        ('def f():\n    x = "What"\n    """Whatever."""', []),
    ],
)
def test_a_planted_question_is_found(source: str, kinds: list[str]) -> None:
    assert [kind for kind, text in docstrings(source) if is_question(text)] == kinds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one line: a child a trial", ["a child a trial"]),
        ("a mask\n    a layer", ["a mask a layer"]),
        ("an epoch, a number; a child per trial", []),
    ],
)
def test_a_planted_twin_is_found(text: str, found: list[str]) -> None:
    assert twins(text) == found


WORDS = " ".join(["word"] * (LONGEST + 1))


@pytest.mark.parametrize(
    "page",
    [f"{WORDS}.", f"# Title\n- An entry.\n- {WORDS}", f"| a | b |\n| --- | --- |\n| {WORDS} | c |", f"`x`\n{WORDS}"],
)
def test_a_planted_long_sentence_is_found(page: str) -> None:
    assert sum(map(is_long, sentences(page))) == 1


@pytest.mark.parametrize(
    "page",
    [
        f"{WORDS.replace(' word', '. Word', 1)}",
        f"```sh\n{WORDS}; {WORDS}\n```",
        f"    {WORDS}; {WORDS}",
        f"`{WORDS}; {WORDS}` is code",
        f"[text](https://{WORDS.replace(' ', '-')};)",
        "\n".join(["- word word word"] * LONGEST),
    ],
)
def test_code_and_parts_that_stand_alone_are_no_long_sentence(page: str) -> None:
    assert not any(is_long(text) or ";" in text for text in sentences(page))


def test_a_planted_semicolon_is_found() -> None:
    assert [text.count(";") for text in sentences("One; two. Three.\n\n| four; five | `six; seven` |")] == [1, 0, 1, 0]
