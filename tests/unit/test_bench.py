"""What benches find, in one form and in one table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest
import yaml
from playbook_run import PROJECT

FOLDER = PROJECT / "tests/bench"
RECAP = """
PLAY RECAP *********************************************************************
fine                       : ok=12   changed=0    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
dead-2.example             : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0
full                       : ok=7    changed=2    unreachable=0    failed=1    skipped=1    rescued=0    ignored=0
"""


@pytest.fixture(name="bench", scope="module")
def fixture_bench():
    """bench(name): a module of tests/bench, which find each other as the program's folder is theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield __import__
        for name in [name for name, module in sys.modules.items() if str(FOLDER) in str(getattr(module, "__file__", ""))]:
            del sys.modules[name]


def test_a_figure_has_medians_and_their_ratio(bench):
    found = bench("figures").figure("site.yml", "s", [9, 30, 10], [5, 4, 100], "a remark")

    assert found == {"what": "site.yml", "unit": "s", "ours": [9, 30, 10], "beside": [5, 4, 100], "pairs": 3, "remarks": "a remark",
                     "medians": {"ours": 10, "beside": 5}, "ratio": 2.0}  # fmt: skip


@pytest.mark.parametrize("beside", [(), (0,)], ids=["nothing beside", "nothing to divide by"])
def test_a_figure_without_a_ratio(bench, beside):
    assert bench("figures").figure("failed requests", "", [3], beside)["ratio"] is None


def test_percentile(bench):
    percentile = bench("figures").percentile

    assert percentile(range(100, 0, -1), 99) == 100
    assert percentile(range(200), 50) == 100
    assert percentile([7], 99) == 7


def test_a_table_of_what_was_left(bench, tmp_path, capsys):
    figures, table = bench("figures"), bench("table")
    figures.leave("pip | uv", [figures.figure("a|b", "s", [0.123456], [1234.5]), figures.figure("tasks", "of a host", [60])], "All cold.")
    (tmp_path / "first.json").write_text(capsys.readouterr().out)

    with pytest.raises(SystemExit) as ended:
        table.main(str(tmp_path), "first", "second")

    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith("| first")]
    assert rows == [r"| first | a\|b, s | 0.123 | 1234 | 0.00 | 1 |", "| first | tasks, of a host | 60 |  |  | 1 |"]
    assert "beside pip | uv: All cold." in text
    assert "`second` has left nothing" in text and ended.value.code == 1
    assert (tmp_path / "bench.md").read_text() == text
    assert json.loads((tmp_path / "bench.json").read_text())["first"]["figures"][1]["medians"] == {"ours": 60, "beside": None}

    with pytest.raises(SystemExit) as ended:
        table.main(str(tmp_path), "first")
    assert ended.value.code == 0


def test_what_a_recap_says(bench):
    runs = bench("runs")
    run = runs.Measured(1.0, 1.0, 4, RECAP)

    assert run.hosts["fine"] == (12, 0, 0, 0, 3)
    assert [name for name, host in run.hosts.items() if host.finished] == ["fine"]
    with pytest.raises(SystemExit, match="'full': 2"):
        runs.unchanged(run)
    assert runs.unchanged(run._replace(output=RECAP.replace("changed=2", "changed=0")))


def test_a_command_is_measured_with_its_processor_time(bench, monkeypatch):
    runs = bench("runs")
    # user and system, this process's and its children's, and what the clock says
    times = [os.times_result((1.0, 1.0, 5.0, 2.0, 100.0)), os.times_result((9.0, 9.0, 5.5, 2.25, 101.0))]
    monkeypatch.setattr(runs.os, "times", lambda: times.pop(0))

    done = runs.measure(sys.executable, "-c", "import os; print(os.environ['GIVEN'])", GIVEN="this")

    assert (done.output, done.status, done.processor) == ("this\n", 0, 0.75)


def test_a_command_that_fails_is_the_end(bench):
    runs = bench("runs")

    assert runs.measure("false", may_fail=True).status == 1
    with pytest.raises(SystemExit, match="false failed"):
        runs.measure("false")


def test_processor_time_of_each_further_host(bench):
    many_hosts, runs = bench("many_hosts"), bench("runs")
    alone, four = (many_hosts.Counted(hosts, [runs.Measured(20.0, processor, 0, "")]) for hosts, processor in ((1, 10.0), (4, 22.0)))

    figures = many_hosts.figures_of("spark", {1: (alone, alone), 4: (four, four)})

    further = [found for found in figures if "each further" in found["unit"]]
    assert [found["ratio"] for found in further] == [0.4, 0.4]
    assert [found["medians"]["ours"] for found in figures if found["unit"] == "s a host"] == [5.0, 5.0]


def test_requests_are_sent_in_turn_and_compared(bench, server, reply):
    bare_serving = bench("bare_serving")
    server.on("POST", "/bare", reply([0.5]))
    server.on("POST", "/ours", reply([0.5]))
    urls = f"{server.url}/ours", f"{server.url}/bare"

    ours, beside, same = bare_serving.singles(*urls, b"{}", 3)

    assert same and len(ours) == len(beside) == 3
    assert [request["path"] for request in server.requests[:4]] == ["/ours", "/bare", "/bare", "/ours"]
    assert len(server.requests) == 12  # the first half to warm up

    server.on("POST", "/ours", reply([0.6]))
    assert not bare_serving.singles(*urls, b"{}", 1)[2]
    throughput, most = bare_serving.burst(urls[0], b"{}", 8)
    assert throughput > 0 and most > 0


def test_phases_of_steady_requests(bench):
    begin = time.time()
    requests = [[begin + second, 10.0 if second < 20 else 30.0, 200 if second != 30 else 502, "model 1", ""] for second in range(80)]

    program = [sys.executable, FOLDER / "serving.py", *(str(begin + second) for second in (20, 40, 60))]
    done = subprocess.run(program, input="\n".join(map(json.dumps, requests)), check=False, stdout=subprocess.PIPE, text=True)

    assert done.returncode == 1  # one has failed
    left = json.loads(done.stdout.splitlines()[-1])
    assert "1 of 80 requests failed" in left["remarks"]
    failed = {found["what"].split(",")[0]: found["ours"] for found in left["figures"] if found["unit"] == "failed requests"}
    assert failed == {"before": [0], "while MLflow restarts": [1], "while the version is replaced": [0], "after": [0]}
    assert [found["ratio"] for found in left["figures"] if found["unit"] == "ms"] == [None, 3.0, 3.0, 3.0]


def test_files_for_scoring(bench, tmp_path):
    (tmp_path / "data.csv").write_text("x,y,label\n1,2,0\n3,4,1\n")
    files = bench("batch_scoring").make_files(str(tmp_path / "data.csv"), str(tmp_path), 3, 2)

    assert len({item["name"] for item in files}) == len({item["staged"] for item in files}) == 3
    for item in files:
        header, *rows = (tmp_path / item["name"]).read_text().splitlines()
        assert header == "x,y" and len(rows) == 2
        assert [float(row.split(",")[0]) for row in rows] == pytest.approx([1, 3], rel=0.02)


def test_the_guide_by_hand_has_the_pins_of_the_guide():
    stack = yaml.safe_load((PROJECT / "stacks/guide-1.30/stack.yml").read_text())
    typed = re.findall(r"\S+==\S+", (FOLDER / "by_hand.sh").read_text())

    assert typed == stack["packages"][:9]


def test_make_bench_knows_every_bench():
    named = re.search(r"^BENCHES \?= (.*)$", (PROJECT / "Makefile").read_text(), re.M)[1].split()

    assert sorted(named) == sorted(file.stem for file in FOLDER.glob("*.yml") if (FOLDER / f"{file.stem}.py").exists())
