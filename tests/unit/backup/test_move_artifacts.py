"""A directory copied into a bucket, and the locations of artifacts in a database."""

import os
import sqlite3
from contextlib import closing

import pytest
import s3_stand_in
from hypothesis import given
from hypothesis import strategies as st
from mlflow_backup import bucket, locations, rows, tables
from mlflow_backup.problems import Problem

PLACE = "s3://registry/a/b"


class Copying:
    def __init__(self, folder, store):
        self.folder, self.store, self.record = folder / "artifacts", store, folder / "uploaded.jsonl"
        self.write("1/run/model.bin", b"model" * 100)
        self.write("1/run/odd name ä%.txt", b"text")
        self.write("0/empty", b"")

    def write(self, name, data):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def uploaded(self, place=PLACE, **more):
        return bucket.Uploaded(str(self.record), place, **more)

    def copy(self, **more):
        return bucket.copy(bucket.Bucket(self.store.environment, PLACE, "path"), self.uploaded(), str(self.folder), **more)

    def look(self):
        return bucket.look(bucket.Bucket(self.store.environment, PLACE, "path"), self.uploaded(), str(self.folder))

    def same(self):
        files = {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        return self.store.below("a/b") == {**files, "": b""}


@pytest.fixture(name="copying")
def fixture_copying(tmp_path, monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with s3_stand_in.store() as store:
        store.add("elsewhere/x", b"nobody's")
        store.add("a/b/", b"")
        yield Copying(tmp_path, store)


def test_all_is_copied_once(copying):
    assert copying.look() == {"files": 3, "bytes": 504, "there": 0, "strange": []} and not copying.store.puts
    assert copying.copy() == {"files": 3, "bytes": 504, "uploaded": 3} and copying.same()
    assert copying.look()["there"] == 3
    copying.write("1/run/new", b"new")
    (copying.folder / "0/empty").unlink()
    copying.write("1/run/model.bin", b"other" * 100)
    assert copying.copy(still=True) == {"files": 3, "bytes": 507, "uploaded": 2} and copying.same()
    assert copying.store.objects["elsewhere/x"] == b"nobody's"


def test_what_nobody_remembers_is_compared(copying):
    """As after a run on another host, or a program that was killed before it wrote it down."""
    copying.copy()
    copying.record.unlink()
    assert copying.look()["there"] == 3
    assert copying.copy(still=True)["uploaded"] == 0 and copying.same()


@pytest.mark.parametrize("name", ["1/run/model.bin", "another"])
def test_what_somebody_else_has_put_there_stays(copying, name):
    copying.store.add("a/b/" + name, b"m" * 500)
    assert copying.look()["strange"] == [name]
    with pytest.raises(Problem, match=rf"s3://registry/a/b has objects that are none of MLflow's .*: {name}. Set mlops_s3_prefix"):
        copying.copy()
    assert copying.store.objects["a/b/" + name] == b"m" * 500


def test_once_moved_all_of_it_is_somebody_else_s(copying):
    copying.copy()
    copying.write("1/run/model.bin", b"other" * 100)
    assert copying.look()["strange"] == []
    assert not copying.uploaded(over=True).known and not copying.uploaded("s3://other").known and len(copying.uploaded().known) == 3


def test_a_large_one_comes_in_parts(copying):
    copying.write("large", os.urandom((17 << 20) + 5))
    copying.copy()
    assert copying.same() and copying.store.etags["a/b/large"].endswith("-3")
    copying.record.unlink()
    assert copying.copy()["uploaded"] == 0


def test_where_etags_say_nothing_the_content_is_read(copying):
    copying.store.tag = lambda etag: "of the store's own"
    copying.copy()
    copying.record.unlink()
    assert copying.copy()["uploaded"] == 0 and copying.same()


def test_what_arrives_otherwise_is_a_problem(copying):
    copying.store.spoil = lambda key, data: b"x" * len(data)
    copying.store.tag = lambda etag: "of the store's own"
    with pytest.raises(Problem, match="The artifact 1/run/model.bin is not in s3://registry/a/b as it is in"):
        copying.copy()
    # It is known as ours, and is put right by the next run.
    copying.store.spoil, copying.store.tag = (lambda key, data: data), (lambda etag: etag)
    copying.copy(still=True)
    assert copying.same()


def test_what_is_written_meanwhile_is_copied_when_nobody_writes(copying):
    path = copying.folder / "1/run/model.bin"

    def spoil(key, data):
        if key.endswith("model.bin") and len(copying.store.puts) < 4:
            path.write_bytes(b"grown" * 200)
        return data

    copying.store.spoil = spoil
    copying.copy()
    assert not copying.same()
    copying.copy(still=True)
    assert copying.same()


def test_a_line_that_was_cut_off_is_none(copying):
    copying.copy()
    with copying.record.open("a") as file:
        file.write('{"place": "s3://regis')
    assert len(copying.uploaded().known) == 3


# Location -> where that is for clients that go to the bucket, and for those that MLflow hands artifacts to.
FOLDER = "/var/lib/mlflow/artifacts"
LOCATIONS = {
    "mlflow-artifacts:/1/r/artifacts": ("s3://b/p/1/r/artifacts", "mlflow-artifacts:/1/r/artifacts"),
    "mlflow-artifacts:///1": ("s3://b/p/1", "mlflow-artifacts:///1"),
    "mlflow-artifacts://other:5000/1": ("mlflow-artifacts://other:5000/1",) * 2,
    f"{FOLDER}/1": ("s3://b/p/1", "mlflow-artifacts:/1"),
    f"file://{FOLDER}/2/r": ("s3://b/p/2/r", "mlflow-artifacts:/2/r"),
    FOLDER: ("s3://b/p", "mlflow-artifacts:"),
    f"{FOLDER}-else/1": (f"{FOLDER}-else/1",) * 2,
    "s3://older/1": ("s3://older/1",) * 2,
    "models:/m/1": ("models:/m/1",) * 2,
    None: (None, None),
}


@pytest.mark.parametrize("number", [0, 1])
def test_locations_name_the_new_place(tmp_path, number):
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript("CREATE TABLE runs (a INTEGER PRIMARY KEY, artifact_uri TEXT, note TEXT);"
                                 "CREATE TABLE model_versions (name TEXT, source TEXT);"
                                 "CREATE TABLE datasets (source TEXT); CREATE TABLE trace_tags (key TEXT, value TEXT);"
                                 "CREATE TABLE alembic_version (version_num TEXT)")  # fmt: skip
        connection.executemany("INSERT INTO runs (artifact_uri, note) VALUES (?, ?)", [(one, one) for one in LOCATIONS])
        connection.execute("INSERT INTO model_versions VALUES ('m', 'mlflow-artifacts:/1'), ('m', 'mlflow-artifacts:/it''s')")
        connection.execute("INSERT INTO datasets VALUES ('mlflow-artifacts:/1')")
        connection.execute("INSERT INTO trace_tags VALUES ('mlflow.artifactLocation', 'mlflow-artifacts:/1'), ('mine', 'mlflow-artifacts:/1')")
        connection.commit()
        with closing(sqlite3.connect(tmp_path / "new.db")) as copy:
            connection.backup(copy)
            done = locations.rewrite(copy, locations.prefixes(FOLDER + "/", ("s3://b/p", "")[number]))
            assert copy.execute("SELECT artifact_uri, note FROM runs ORDER BY a").fetchall() == [(new[number], old) for old, new in LOCATIONS.items()]
            if number == 0:
                assert done == {"runs.artifact_uri": 5, "model_versions.source": 2, "trace_tags.value": 1}
                assert copy.execute("SELECT value FROM trace_tags").fetchall() == [("s3://b/p/1",), ("mlflow-artifacts:/1",)]
                assert copy.execute("SELECT source FROM model_versions").fetchall() == [("s3://b/p/1",), ("s3://b/p/it's",)]
            assert copy.execute("SELECT source FROM datasets").fetchall() == [("mlflow-artifacts:/1",)]
    with rows.files(str(tmp_path / "old.db"), str(tmp_path / "new.db")) as both:
        locations.leave_out(both)
        assert list(rows.lost(both)) == []


def test_all_but_locations_is_compared(tmp_path):
    for name, note in (("old", "a"), ("new", "b")):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            connection.executescript(f"CREATE TABLE runs (artifact_uri TEXT, note TEXT); INSERT INTO runs VALUES ('{name}', '{note}')")
    with rows.files(str(tmp_path / "old.db"), str(tmp_path / "new.db")) as both:
        locations.leave_out(both)
        assert list(rows.lost(both)) == ["1 of 1 rows of runs are not as they were"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_texts_are_read_back_as_they_were_written(text):
    written = tables.written(text, "text")
    assert "\n" not in written and "\t" not in written and tables.value_of(written, "text") == text


@pytest.mark.parametrize(("value", "kind"), [(None, "text"), (1, "boolean"), (0, "boolean"), (b"\0\\x", "bytea"), (1.7976931348623157e308, "real"),
                                             (-(2**63), "bigint"), ("\\N", "text"), ("\\n\\\\b", "text"), ("\\.", "json")])  # fmt: skip
def test_values_are_read_back_as_they_were_written(value, kind):
    text = tables.written(value, kind)
    # PostgreSQL has words for them.
    assert tables.value_of({"1": "t", "0": "f"}[text] if kind == "boolean" else text, kind) == value


def test_what_others_refer_to_comes_first():
    assert tables.in_order({"tags", "runs", "experiments"}, [["runs", "experiments"], ["tags", "runs"]]) == ["experiments", "runs", "tags"]
    with pytest.raises(Problem, match="The tables a, b refer to each other"):
        tables.in_order({"a", "b"}, [["a", "b"], ["b", "a"]])
