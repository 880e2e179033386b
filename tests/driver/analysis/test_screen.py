"""Sentences and tables on a terminal of any width."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from platform.analysis.screen import fitting, head, sentence, waiting

COMMAND = "python -m platform.sweep sweeps/spectran_taylor.yaml --set name=a-long-name --set num_trials=40"


def printed(width: int, text: str, *, is_terminal: bool = True) -> str:
    file = io.StringIO()
    sentence(Console(file=file, force_terminal=is_terminal, color_system=None, width=width), text)
    return file.getvalue()


def test_a_command_that_is_too_long_gets_lines_of_its_own_that_can_be_pasted():
    assert printed(80, f"2 of 5 trials failed; once the cause is mended: {COMMAND}") == (
        "2 of 5 trials failed; once the cause is mended:\n"
        "python -m platform.sweep sweeps/spectran_taylor.yaml --set name=a-long-name \\\n--set num_trials=40\n"
    )
    assert printed(80, "see the search: optuna-dashboard runs/spectran-taylor/study.journal (it can delete it)") == (
        "see the search: (it can delete it)\noptuna-dashboard runs/spectran-taylor/study.journal\n"
    )
    assert printed(60, "[red]tracebacks[/red]: python is an animal, and this is no command of its own") == (
        "[red]tracebacks[/red]: python is an animal, and this is no\ncommand of its own\n"
    )


def test_what_fits_and_what_is_no_terminal_stays_one_line():
    assert printed(200, f"again: {COMMAND}") == f"again: {COMMAND}\n"
    assert printed(20, f"again: {COMMAND}", is_terminal=False) == f"again: {COMMAND}\n"


@given(st.lists(st.text("ab/.[]-", min_size=1, max_size=60), min_size=1, max_size=12), st.integers(20, 120))
def test_no_word_is_broken_and_none_is_lost(words, width):
    assert printed(width, " ".join(words)).split() == words


def table_of(width: int) -> tuple[str, list[str]]:
    console = Console(file=io.StringIO(), width=width)
    rows = [{"fit.dropout": "0.5", "adapter.taylor_order": "5", "fit.weight_decay": "1e-05"}] * 2

    def build(names, is_narrow):
        table = Table("trial", *(head(name, is_narrow) for name in names))
        for row in rows:
            table.add_row("7", *(row[name] for name in names))
        return table

    table, left_out = fitting(console, build, list(rows[0]), {"fit.dropout"})
    console.print(table)
    return console.file.getvalue(), left_out  # type: ignore[attr-defined]


def test_a_table_drops_what_is_alike_then_breaks_its_heads_at_dots_then_drops_from_the_end():
    whole, none = table_of(80)
    assert none == []
    assert "fit.dropout" in whole
    assert table_of(56)[1] == ["fit.dropout"]
    narrow, left_out = table_of(40)
    assert left_out == ["fit.dropout"]
    assert [word in narrow for word in ("adapter.", "taylor_order", "fit.", "weight_decay")] == [True] * 4
    assert table_of(30)[1] == ["fit.dropout", "fit.weight_decay"]
    assert table_of(10)[1] == ["fit.dropout", "adapter.taylor_order", "fit.weight_decay"]
    assert all("…" not in table_of(width)[0] for width in range(14, 90))


def test_what_takes_long_is_said_and_what_others_print_meanwhile_stays_off_the_screen(capsys):
    for is_terminal in (True, False):
        file = io.StringIO()
        with waiting(Console(file=file, force_terminal=is_terminal, color_system=None, width=80), "starts Ray"):
            print("of another")
        assert "starts Ray" in file.getvalue()
        assert "of another" not in file.getvalue()
        assert capsys.readouterr().out == "of another\n"
