# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was scored, compared with its input: the same columns and one more, as many rows, and for CSV the same values."""

import itertools
import os

from ansible_collections.sparkflows.mlops.plugins.module_utils import csv_files
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import PREDICTION, BadInput
from ansible_collections.sparkflows.mlops.plugins.module_utils.parquet import parquet_shapes


def compare_csv(given_path, scored_path, dialect):
    """The number of scored rows, if they are those of the input in their order. The scored file then has them as they went in.

    dialect is the scoring_inputs.Dialect of the input. BadInput if the rows are others, or a prediction cannot be written like them.
    """
    csv_files.check_text(scored_path)

    def attempt(read):
        return (*compare_rows(given_path, scored_path, dialect, read), read)

    rows, exact, read = csv_files.read_scored([scored_path], attempt) if dialect.detected else attempt(csv_files.read_rows)
    if not exact or read is not csv_files.read_rows:
        merged = scored_path + ".merged"
        if os.path.lexists(merged):  # who scored may have put it there, perhaps as a link
            os.unlink(merged)
        try:
            merge(given_path, scored_path, dialect, read, merged)
        except UnicodeEncodeError as exc:
            raise BadInput(f"a prediction has {exc.object[exc.start]!r}, which {dialect.encoding} does not have: convert the input to UTF-8") from exc
        os.rename(merged, scored_path)
    return rows


def scored_rows(path, read):
    """The rows that there are, the header first, read in one of the ways of csv_files."""
    with csv_files.open_text(path) as file:
        yield from (row for row in read(file) if row[1])


def compare_rows(given_path, scored_path, dialect, read):
    """The number of scored rows, and whether their text is as it was. csv_files.Different if they are not those of the input."""
    given_rows, scored = dialect.rows(given_path), scored_rows(scored_path, read)
    _line, header, text = next(given_rows)
    _line, scored_header, scored_text = next(scored, (0, [], ""))
    compare_columns(header, scored_header)
    exact = not dialect.record and csv_files.encoding_of(given_path) == csv_files.encoding_of(scored_path) and begins(text, scored_text)
    difference, given_count, scored_count = (), 0, 0
    for given, row in itertools.zip_longest(given_rows, scored):
        given_count += given is not None
        scored_count += row is not None
        if given and row and not difference:
            problem = csv_files.row_difference(header, scored_count, given[1], row[0], row[1])
            difference = (problem, scored_count) if problem else ()
            exact = exact and begins(given[2], row[2])
    compare_counts(given_count, scored_count)
    if difference:
        raise csv_files.Different(*difference)
    return scored_count, exact


def begins(given, scored):
    """Whether a scored row has the given one as it was, and ends as it does."""
    end = csv_files.line_end(given)
    return scored.startswith(given[: len(given) - len(end)] + ",") and end in ("", csv_files.line_end(scored))


def merge(given_path, scored_path, dialect, read, target):
    """The rows as they went in, and what was predicted after each."""
    encoding, mark = csv_files.encoding_of(given_path, dialect.encoding)
    with open(target, "x", encoding=encoding, newline="") as file:
        file.write(mark)
        end = ""
        for given, scored in zip(dialect.rows(given_path), scored_rows(scored_path, read)):
            end = csv_files.line_end(given[2]) or end or "\n"
            file.write(given[2].rstrip("\r\n") + dialect.separator + csv_files.quoted(scored[1][-1], dialect.separator) + end)


def compare_counts(given, scored):
    if given != scored:
        raise csv_files.Different(f"it has {given} rows, but {scored} were scored", min(given, scored) + 1)


def compare_columns(given, scored):
    wanted = given + [PREDICTION]
    if len(wanted) == len(scored) and all(map(csv_files.same_name, wanted, scored, itertools.count())):
        return
    missing = [name or "a column without a name" for name in wanted if name not in set(scored)]
    more = [name or "a column without a name" for name in scored if name not in set(wanted)]
    what = "; ".join(
        [f"{', '.join(missing[:5])} is missing"] * bool(missing) + [f"{', '.join(more[:5])} is new"] * bool(more)
    )
    raise BadInput(f"what was scored has other columns: {what or 'their order has changed'}")


def compare_parquet(given_path, scored_path, dialect):
    """The number of scored rows, if there are as many as in the input, with its columns. Else BadInput."""
    (given, given_rows), (scored, scored_rows) = parquet_shapes(dialect.parquet_python, given_path, scored_path)
    compare_columns(given, scored)
    compare_counts(given_rows, scored_rows)
    return scored_rows


# By format, as scoring_inputs.format_of tells it.
COMPARE = {"csv": compare_csv, "parquet": compare_parquet}
