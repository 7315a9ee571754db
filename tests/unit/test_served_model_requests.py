"""What is taken from a request to a served model, with what is looked at of MLflow and pyspark in their place."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "model_serving" / "files" / "model_requests.py"
specification = importlib.util.spec_from_file_location("model_requests", PROGRAM)
requests = importlib.util.module_from_spec(specification)
specification.loader.exec_module(requests)

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))


@given(st.lists(st.tuples(PLAIN, PLAIN), max_size=20))
def test_one_row_of_each_kind_decides_the_schema(rows):
    kept = list(requests.kinds(rows))
    of = [tuple(map(type, row)) for row in kept]
    # The same kinds, in the order of their first rows: what is merged out of them, or does not go together, is the same.
    assert of == list(dict.fromkeys(tuple(map(type, row)) for row in rows))


def test_rows_with_something_else_are_all_looked_at():
    class Number(int):
        pass

    for row in ((1, [None]), (1, {"a": 1}), (1, Number(1))):
        assert list(requests.kinds([row, row])) == [row, row]


class Java:
    pass


def stage(**values):
    return SimpleNamespace(_java_obj=Java(), _paramMap=values, _defaultParamMap={"seed": 1})


def test_parameters_are_handed_over_when_they_have_changed():
    handed = []
    transfer = requests.when_changed(handed.append)
    one, other = stage(inputCol="a"), stage(inputCol="a")
    for each in (one, one, other, one):
        transfer(each)
    assert handed == [one, other]
    one._paramMap["outputCol"] = "prediction"
    transfer(one)
    one._paramMap["outputCol"] = "another"
    transfer(one)
    one._defaultParamMap["seed"] = 2
    transfer(one)
    # A copy has its own Java object.
    one._java_obj = Java()
    transfer(one)
    transfer(one)
    assert handed == [one, other, one, one, one, one]


class Session:
    """pyspark as far as it is looked at: a frame is the rows."""

    changes = staticmethod(lambda rows: rows)

    def __init__(self):
        loads = SimpleNamespace(loads=bytes)
        mllib = SimpleNamespace(mllib=SimpleNamespace(api=SimpleNamespace(python=SimpleNamespace(SerDe=loads))))
        self._jvm = SimpleNamespace(org=SimpleNamespace(apache=SimpleNamespace(spark=mllib)))

    def _create_dataframe(self, data, *_others):
        return SimpleNamespace(schema="s", collect=lambda: data)


@pytest.fixture(name="spark")
def fixture_spark(monkeypatch):
    """Modules of pyspark, and what is taken for a frame made in the quick way."""
    parts = {"pyspark": SimpleNamespace(), "pyspark.serializers": SimpleNamespace(PickleSerializer=lambda: SimpleNamespace(dumps=repr)),
             "pyspark.sql": SimpleNamespace(DataFrame=None, SparkSession=type("Class", (), {"_instantiatedSession": Session()})),
             "pyspark.ml.wrapper": SimpleNamespace(JavaParams=type("JavaParams", (), {"_transfer_params_to_java": lambda self: None}))}  # fmt: skip
    for name, module in parts.items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    before = Session._create_dataframe
    monkeypatch.setattr(Session, "_create_dataframe", before)
    parts["before"] = before
    return parts


@pytest.mark.parametrize("rows, replaced", [(lambda rows: rows, True), (lambda rows: [*rows[1:], rows[0]], False), (lambda rows: 1 / 0, False)])
def test_spark_s_own_way_stays_unless_a_sample_is_the_same(spark, monkeypatch, caplog, rows, replaced):
    monkeypatch.setattr(requests, "quicken_tables", lambda modules: None)
    monkeypatch.setattr(requests.Rows, "frame", lambda self, session, data, names: SimpleNamespace(schema="s", collect=lambda: rows(data)))
    requests.quicken(logging.getLogger(), spark)
    assert (Session._create_dataframe is not spark["before"]) == replaced
    assert ("as MLflow does it" in caplog.text) == (not replaced)
    if replaced:
        # Rows of pandas go the new way, all others the old one.
        monkeypatch.setattr(requests.Rows, "frame", lambda self, session, data, names: "quick")
        session = spark["pyspark.sql"].SparkSession._instantiatedSession
        assert session._create_dataframe([(1,)], ["a"], None, True) == "quick"
        assert [session._create_dataframe(*given).collect() for given in (([], ["a"], None, True), ([(1,)], "schema", None, True))] == [[], [(1,)]]


def test_a_model_without_spark_has_none_started(caplog, monkeypatch):
    monkeypatch.setattr(requests, "quicken_tables", lambda modules: None)
    requests.quicken(logging.getLogger(), {})
    assert not caplog.text


class Columns(list):
    is_unique = True

    def __getitem__(self, at):
        return Columns(super().__getitem__(at))


@pytest.mark.parametrize("columns, unique, at_once", [("ab", True, True), ("bca", True, True), ("a", True, False), ("aab", False, False)])
def test_a_table_is_made_at_once_if_it_has_the_columns(columns, unique, at_once):
    class Table(dict):
        pass

    table = Table({name: name.upper() for name in columns})
    table.columns = Columns(columns)
    table.columns.is_unique = unique
    utils = SimpleNamespace(_enforce_col_schema=lambda table, schema: "before", _enforce_mlflow_datatype=lambda name, values, kind: (values, kind))
    pandas = SimpleNamespace(DataFrame=lambda values, columns: (values, columns))
    schema = SimpleNamespace(has_input_names=lambda: True, input_names=lambda: ["b", "a"], input_types=lambda: ["double", "long"], inputs=[1, 2])
    made = requests.table_at_once(utils, pandas)(table, schema)
    assert made == (({"b": ("B", "double"), "a": ("A", "long")}, ["b", "a"]) if at_once else "before")
