"""What a workflow is handed, and what is taken of what it wrote; the rest of the method is tests/roles/test_offline_scoring_workflow.py."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import workflow_files

GIVEN = 'id,t\n1,"He said ""hi"", twice"\n2,b\n'


@pytest.fixture(name="exchange")
def fixture_exchange(call, tmp_path):
    """exchange(given, written, ...) -> (what is staged, failures); written is a text or texts by name of the part."""

    def run(given=GIVEN, written="", **options):
        (tmp_path / "a.csv").write_bytes(given.encode())
        files = [{"name": "a.csv", "path": str(tmp_path / "a.csv"), "staged": str(tmp_path / "staged.csv")}]
        place = tmp_path / "exchange"
        place.mkdir()
        handed = call(workflow_files, state="handed_over", directory=str(place), files=files)
        assert handed["failures"] == {} and (place / "0" / "input.csv").read_bytes() == given.encode()
        assert os.stat(place / "0").st_mode & 0o777 == 0o700
        output = place / "0" / "output.csv"
        if isinstance(written, dict):
            output.mkdir()
            for name, text in written.items():
                (output / name).write_bytes(text.encode())
        elif written:
            output.write_bytes(written if isinstance(written, bytes) else written.encode())
        taken = call(workflow_files, state="collected", directory=str(place), files=files, **options)
        staged = tmp_path / "staged.csv"
        return staged.read_bytes().decode() if staged.exists() else "", taken["failures"].get("a.csv", "")

    return run


STAGED = 'id,t,prediction\n1,"He said ""hi"", twice",0.5\n2,b,0.25\n'


@pytest.mark.parametrize(
    "written",
    [
        'id,t,prediction\n1,"He said ""hi"", twice",0.5\n2,b,0.25\n',
        # As Spark writes it, in parts, of which some are empty, with more columns in another order.
        {
            "part-0.csv": 'prediction,id,t\n0.5,1,"He said \\"hi\\", twice"\n',
            "part-1.csv": "",
            "part-2.csv": 'more,t,id,prediction\n"\\\\",b,2,0.25\n',
            "_SUCCESS": "",
        },
    ],
)
def test_both_ways_to_write_a_quotation_mark(exchange, written):
    assert exchange(written=written) == (STAGED, "")


# Each is a row in both ways; the input says which one is meant, and of a prediction the other backslashes.
@pytest.mark.parametrize(
    "given, written, staged",
    [
        (r"C:\dir, x", r'1,"C:\\dir, x",0.5', r'1,"C:\dir, x",0.5'),  # Spark's, and what it stands for
        (r"C:\dir, x", r'1,"C:\dir, x",0.5', r'1,"C:\dir, x",0.5'),  # as RFC 4180 has it
        (r"C:\dir, x", r'1,"C:\dir, x","C:\dir, y"', r'1,"C:\dir, x","C:\dir, y"'),
        (r"C:\dir, x", r'1,"C:\dir, x","C:\dir, y"', r'1,"C:\dir, x","C:\dir, y"'),
        (r"C:\dir, x", r'1,"C:\dir, x","C:\dir, y"', r'1,"C:\dir, x","C:\dir, y"'),
        ("a, b", r'1,"a, b","C:\dir, y"', r'1,"a, b","C:\dir, y"'),
        ("a, b", r'1,"a, b","C:\dir, y"', r'1,"a, b","C:\dir, y"'),
        ('"', r'1,"\"",0.5', r'1,"""",0.5'),
    ],
)
def test_backslashes_are_what_the_input_says(exchange, given, written, staged):
    field = given.replace('"', '""')
    assert exchange(f'id,t\n1,"{field}"\n', f"id,t,prediction\n{written}\n") == (f"id,t,prediction\n{staged}\n", "")


def test_a_row_that_is_another_is_named_as_whoever_wrote_it_meant_it(exchange):
    staged, why = exchange('id,t\n1,"C:\\dir, x"\n2,b\n', 'id,t,prediction\n1,"C:\\\\dir, x",0.5\n2,c,0.5\n')
    assert why == "row 2 of what was scored is not row 2 of the input: t is 'c' instead of 'b'"


def test_a_column_without_a_name_is_kept(exchange):
    staged, why = exchange(given=",x\n7,1\n", written="_c0,x,risk\n7,1,0.5\n", prediction_column="risk")
    assert (staged, why) == (",x,prediction\n7,1,0.5\n", "")


@pytest.mark.parametrize(
    "written, why",
    [
        ("", "the workflow ended well, but wrote nothing to"),
        ("id,t\n1,2\n", "has no column prediction, but id, t: set score_offline_workflow_prediction_column"),
        ("id,prediction\n1,2\n", "has no column t, but id, prediction: it has to write the input's columns, too"),
        ('id,t,prediction\n1,"He said ""hi"", twice",0.5\n1,a\n', "line 3 of what the workflow wrote has 2 values, but its header has 3"),
        ('id,t,prediction\n1,"a,0.5\n', "line 2 is not CSV: a quotation mark is not closed"),
        (b"id,t,prediction\n1,\xe9,0.5\n", "what the workflow wrote is not UTF-8"),
        ({"part-0.snappy.parquet": "PAR1"}, "part-0.snappy.parquet, is no CSV file"),
        ({"part-0.csv.gz": "x"}, "has to write CSV that is not compressed"),
    ],
)
def test_what_cannot_be_taken_is_named(exchange, written, why):
    assert why in exchange(written=written)[1]


def test_nobody_s_link_is_followed(exchange, tmp_path, call):
    (tmp_path / "secret").write_text("id,t,prediction\n1,2,3\n")
    place = tmp_path / "x"
    (place / "0").mkdir(parents=True)
    (place / "0" / "output.csv").symlink_to(tmp_path / "secret")
    (tmp_path / "a.csv").write_text(GIVEN)
    files = [{"name": "a.csv", "path": str(tmp_path / "a.csv"), "staged": str(tmp_path / "s.csv")}]
    assert "symbolic link" in call(workflow_files, state="collected", directory=str(place), files=files)["failures"]["a.csv"]


def test_user_that_is_not_there(call, tmp_path):
    (tmp_path / "a.csv").write_text(GIVEN)
    files = [{"name": "a.csv", "path": str(tmp_path / "a.csv"), "staged": ""}]
    failures = call(workflow_files, state="handed_over", directory=str(tmp_path), files=files, user="nobody-here")["failures"]
    assert "set score_offline_workflow_user" in failures["a.csv"]
