"""The table of a paper: marks of the best, the second and significance, in LaTeX, Markdown and CSV."""

import shutil
import subprocess

import pytest

from platform.analysis.comparison import Cell, Comparison, PrintedCell, Spread
from platform.analysis.pairs import Pair, PairedTests
from platform.analysis.tables import latex_text, paper_table, render

ODD = r"a_b & 5% $x$ #1 {γ} ~^\ <b> ±"
METRICS = ("test/hr_10", "test/ndcg_10", "trial/seconds")


def cell(name: str, ndcg: float, published: float | None = None, data: str = "toys") -> Cell:
    metrics = {
        "test/hr_10": Spread(2 * ndcg, None),
        "test/ndcg_10": Spread(ndcg, 0.001),
        "trial/seconds": Spread(9, None),
    }
    return Cell(
        sweep="s",
        by={"data.name": data, "method": name},
        setting={},
        settings=1,
        fewer_seeds=0,
        objective=Spread(ndcg, None),
        metrics=metrics | {"trial/seconds": Spread(9, None)},
        published={} if published is None else {"test/ndcg_10": published},
        note="",
        trials=(),
    )


def compared(*cells: Cell) -> Comparison:
    printed = (PrintedCell("s", {"data.name": "toys", "method": "theirs"}, {"test/ndcg_10": 0.35}),)
    return Comparison(
        "valid/ndcg_10", ("data.name", "method"), METRICS, cells, ("s: 3 of 4 trials have ended",), printed
    )


def pairs_with(p: float | None) -> PairedTests:
    pair = Pair("one", "two", 0.3, 0.2, 0.1, 0.05, 0.15, p, p, p, 40, 40)
    return PairedTests(10, (pair,), ())


TABLE = compared(cell("one", 0.3, 0.31), cell("two", 0.2), cell("three", 0.1))


def test_best_and_second_are_marked_and_the_best_is_starred_where_it_differs():
    (one, two, three, theirs) = paper_table(TABLE, pairs_with(0.01)).lines
    assert [(entry.text, entry.place, entry.is_significant) for entry in (one[-1], two[-1], three[-1])] == [
        ("0.3000 ± 0.0010 (0.3100)", 1, True),
        ("0.2000 ± 0.0010", 2, False),
        ("0.1000 ± 0.0010", 0, False),
    ]
    assert (one[-2].place, one[-2].is_significant) == (1, False)  # only the tested metric is starred
    assert [entry.text for entry in theirs] == ["theirs", "", "", "(0.3500)"]


@pytest.mark.parametrize("p", [0.05, None])
def test_no_star_without_a_small_p(p):
    assert not any(entry.is_significant for line in paper_table(TABLE, pairs_with(p)).lines for entry in line)


def test_the_best_is_looked_for_within_a_data_set():
    table = paper_table(compared(cell("one", 0.3), cell("two", 0.2), cell("one", 0.1, data="mind")), pairs_with(None))
    assert [line[-1].place for line in table.lines] == [1, 2, 0, 0]


def test_the_caption_explains_every_mark_and_what_all_lines_share():
    caption = paper_table(TABLE, pairs_with(0.01)).caption
    for text in ("for data.name toys", "is bold, the second underlined", "p < 0.05", "corrected by Holm over 1)",
                 "Published values stand in parentheses", "3 of 4 trials have ended"):  # fmt: skip
        assert text in caption


def test_each_format_writes_marks_and_special_characters_in_its_own_way():
    table = compared(cell(ODD, 0.3), cell("two", 0.2))
    latex, markdown, csv = (render(table, pairs_with(None), form) for form in ("latex", "markdown", "csv"))
    assert (
        r"a\_b \& 5\% \$x\$ \#1 \{$\gamma$\} \textasciitilde{}\textasciicircum{}\textbackslash{} $<$b$>$ $\pm$" in latex
    )
    assert r"\textbf{0.3000 $\pm$ 0.0010}" in latex
    assert r"\underline{0.2000 $\pm$ 0.0010}" in latex
    assert r"a\_b & 5% $x$ \#1 \{γ\} ~^\\ \<b\> ±" in markdown
    assert "**0.3000 ± 0.0010**" in markdown
    assert "<u>0.2000 ± 0.0010</u>" in markdown
    assert csv.startswith(
        "sweep,data.name,method,setting,settings,begun,epochs,seconds,seeds,trials,valid/ndcg_10 mean,"
    )


def test_greek_letters_are_mathematics():
    assert latex_text("λ Γ ς") == r"$\lambda$ $\Gamma$ ς"


@pytest.mark.by_hand
def test_the_latex_compiles(tmp_path):
    if not (latex := shutil.which("pdflatex")):
        pytest.skip("no LaTeX: apt-get install texlive-latex-base")
    table = render(compared(cell(ODD, 0.3, 0.2), cell("two", 0.2)), pairs_with(0.01), "latex")
    (tmp_path / "t.tex").write_text(rf"\documentclass{{article}}\begin{{document}}{table}\end{{document}}")
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Missing character" not in (tmp_path / "t.log").read_text()
