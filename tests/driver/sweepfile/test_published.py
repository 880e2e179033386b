"""A file of printed numbers, and what makes it unusable."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.sweepfile.published import Published, as_text, read

BY = ("data.name", "dim")
HEAD = "data.name,dim,test/hr_10,test/ndcg_10,note\n"


def reading(folder: Path, text: str | bytes) -> tuple[Published | None, list[str]]:
    path = folder / "p.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    told: list[str] = []
    return read(path, BY, told.append), told


def test_a_line_is_a_cell_and_what_is_empty_was_not_printed(tmp_path):
    found, told = reading(tmp_path, f"{HEAD}toys,128,.0856,0.039,\noffice,16.0,,,not printed\n\n")
    assert told == []
    assert found == Published(
        metrics=("test/hr_10", "test/ndcg_10"),
        values={("toys", "128"): {"test/hr_10": 0.0856, "test/ndcg_10": 0.039}, ("office", "16"): {}},
        notes={("office", "16"): "not printed"},
    )


def test_other_columns_of_parameters_are_left_alone(tmp_path):
    found, told = reading(tmp_path, "backbone.name,data.name,dim,test/hr_10\nsasrec,toys,128,0\n")
    assert (found and dict(found.values), told) == ({("toys", "128"): {"test/hr_10": 0.0}}, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must have a column for each of compare.by, but p.csv has none for 'data.name'; choose from "),
        ("data.nam,dim,test/hr_10\n",
         "must have a column for each of compare.by, but p.csv has none for 'data.name'; did you mean 'data.nam'?"),
        ("data.name,dim,note\n", "must have a column of a metric such as test/ndcg_20, but p.csv has none; add one"),
        ("data.name,dim,dim,test/hr_10\n", "must name each column once, but p.csv has 'dim' again; remove one"),
        (f"{HEAD}toys,128,.1,.2\n", "must have 5 fields a line, but line 2 of p.csv has 4; one for each column"),
        (f"{HEAD}toys,128,.1,.2,\ntoys,128.0,.1,.2,\n",
         "must have one line per cell, but line 3 of p.csv has toys / 128 again; remove one"),
        (f"{HEAD}toys,128,9.6M,.2,\n",
         "must have numbers under test/hr_10, but line 2 of p.csv has '9.6M'; write a plain number, or nothing"),
        (f"{HEAD}toys,128,.1,nan,\n",
         "must have numbers under test/ndcg_10, but line 2 of p.csv has 'nan'; write a plain number, or nothing"),
        (b"\xff\xfe", "must be a CSV file in UTF-8, but "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_told(tmp_path, text, problem):
    found, told = reading(tmp_path, text)
    assert found is None
    assert told[0].startswith(problem)


def test_cells_that_do_not_tell_the_lines_apart_are_one_problem_with_the_columns_that_do(tmp_path):
    head = "data.name,backbone.name,dim,fit.epochs,test/hr_10,note\n"
    lines = [f"{data},{backbone},{dim},9,.1,{backbone}" for data in "ab" for backbone in "xyz" for dim in (64, 128)]
    (tmp_path / "p.csv").write_text(head + "\n".join(lines))
    told: list[str] = []
    assert read(tmp_path / "p.csv", ["dim"], told.append) is None
    assert told == [
        "must have one line per cell, but 12 lines of p.csv share 2 cells; add data.name and backbone.name to "
        "compare.by, and write a default that is meant as a constant under parameters"
    ]
    assert read(tmp_path / "p.csv", ["data.name", "backbone.name", "dim"], told.append) is not None


def test_a_line_that_no_column_tells_apart_is_told_as_well_and_many_alike_are_counted(tmp_path):
    _, told = reading(tmp_path, f"{HEAD}toys,1,.1,,\n" + "toys,1,.1,,\n" * 9)
    assert told == [
        *(
            f"must have one line per cell, but line {line} of p.csv has toys / 1 again; remove one"
            for line in (3, 4, 5)
        ),
        "must have no such lines, but there are 6 more; correct them alike",
    ]
    (tmp_path / "p.csv").write_text("data.name,dim,k,test/hr_10\na,1,1,.1\na,1,2,.1\na,1,1.0,.1\n")
    told.clear()
    read(tmp_path / "p.csv", BY, told.append)
    assert told == [
        "must have one line per cell, but 3 lines of p.csv share 1 cells; add k to compare.by, and write a default "
        "that is meant as a constant under parameters",
        "must have one line per cell, but line 4 of p.csv has a / 1 again; remove one",
    ]
    _, told = reading(tmp_path, HEAD + "toys,1,x,,\n" * 1 + "".join(f"toys,{dim},x,,\n" for dim in range(2, 99)))
    assert len(told) == 4


def test_a_file_that_is_not_there_is_told_with_those_that_are(tmp_path):
    told: list[str] = []
    (tmp_path / "table2.csv").touch()
    assert read(tmp_path / "table3.csv", BY, told.append) is None
    (problem,) = told
    assert problem == (
        f"must be a CSV file that can be read, but {tmp_path}/table3.csv gave 'No such file or directory'; there are "
        f"{tmp_path}/table2.csv"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (False, "false"), (128, "128"), (128.0, "128"), ("128", "128"), (1e-6, "1e-06"),
     ("1.0e-6", "1e-06"), (" sasrec ", "sasrec"), ("nan", "nan"), ([1, 2], "[1, 2]")],
)  # fmt: skip
def test_a_value_reads_as_it_is_written(value, text):
    assert as_text(value) == text


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()))
@settings(max_examples=30)
def test_reading_a_written_value_changes_nothing(value):
    assert as_text(as_text(value)) == as_text(value)
