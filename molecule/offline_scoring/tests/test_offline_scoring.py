"""Scored files and their records on the hosts that score, and what bad input leaves: nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess

import pytest
from conftest import LAB, PROJECT, play, trained

DATA = list(csv.reader((PROJECT / "tests/data/breast-cancer-wisconsin/data.csv").open(encoding="utf-8")))
ROWS = [row[:-1] for row in DATA]  # without the label
OUTPUT = "/srv/scoring/out"
WAYS = {
    "scorer_image": ("scorer1", {"score_offline_method": "scorer_image", "score_offline_model_name": "breast-cancer-risk"}),
    "local": (
        "mlflow1",
        {
            "score_offline_method": "registered_model",
            "score_offline_model_name": "breast-cancer-risk",
            "score_offline_model_version": "1",
            "score_offline_host": "mlflow1",
        },
    ),
    "cluster": (
        "spark1",
        {
            "score_offline_method": "registered_model",
            "score_offline_model_name": "breast-cancer-risk",
            "score_offline_model_version": "1",
            "batch_scoring_master": "spark://{{ hostvars['spark1'].mlops_address }}:7077",
        },
    ),
    "workflow": ("sparkflows1", {"score_offline_method": "workflow", "score_offline_workflow_id": "7"}),
}
TOO_FEW = "head -n 3 {input} | sed 's/$/,1/;1s/1$/prediction/' > {output}"
SAME_MODEL = ("scorer_image", "local", "cluster")


def sh(host, script, *arguments, data=None):
    command = ["docker", "exec", "-i", f"{LAB}-{host}", "sh", "-c", script, "sh", *arguments]
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


def read(host, path):
    return sh(host, 'cat "$1"', path)


def table(content):
    return list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))


def text(rows):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


def run(way, tmp_path, **variables):
    """Gives the return code and what was said, in one line."""
    file = tmp_path / "vars.json"
    file.write_text(json.dumps(dict(WAYS[way][1], **variables)))
    done = play("-e", f"@{file}", "playbooks/score_offline.yml")
    return done.returncode, done.text


@pytest.fixture(name="folder")
def fixture_folder(request, tmp_path):
    """Makes fresh folders with the given files on a host; gives the variables for them."""

    def make(way, **files):
        host, base = WAYS[way][0], f"/srv/scoring/{request.node.name.replace('/', '_')}"
        sh(host, 'rm -rf "$1" && mkdir -p "$1/in"', base)
        for name, content in files.items():
            sh(host, 'cat > "$1"', f"{base}/in/{name}.csv", data=content)
        return {"score_offline_input": f"{base}/in", "score_offline_output": f"{base}/out"}

    return make


def names(host, path):
    return sorted(sh(host, 'ls -A "$1" 2>/dev/null || true', path).decode().split())


@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_there_in_its_order(way):
    scored = table(read(WAYS[way][0], f"{OUTPUT}/{way}/patients.csv"))
    assert scored[0] == [*ROWS[0], "prediction"] and len(scored) == len(ROWS) == 570
    assert [[float(value) for value in row[:-1]] for row in scored[1:]] == [[float(value) for value in row] for row in ROWS[1:]]


@pytest.mark.parametrize("way", SAME_MODEL)
def test_predictions_are_those_of_training(way):
    scored = table(read(WAYS[way][0], f"{OUTPUT}/{way}/patients.csv"))
    assert [float(row[-1]) for row in scored[1:]] == trained("breast-cancer-risk")


@pytest.mark.parametrize("way", WAYS)
def test_record_says_what_scored_what(way):
    host, folder = WAYS[way][0], f"{OUTPUT}/{way}"
    entry = json.loads(read(host, f"{folder}/manifest.json"))["files"]["patients.csv"]
    assert entry["scored_by"]["method"] == WAYS[way][1]["score_offline_method"]
    assert entry["scored_by"]["model"]["name"] and entry["scored_by"]["model"]["version"] and entry["scored_by"]["model"]["checksum"]
    assert entry["scored_by"].get("stack") or "@sha256:" in entry["scored_by"]["image"]
    assert entry["input"]["sha256"] == hashlib.sha256(read(host, "/srv/scoring/in/patients.csv")).hexdigest()
    assert entry["output"]["sha256"] == hashlib.sha256(read(host, f"{folder}/patients.csv")).hexdigest()
    assert entry["input"]["rows"] == entry["output"]["rows"] == 569 and entry["seconds"] > 0 and entry["when"].startswith("20")
    assert names(host, folder) == ["manifest.json", "patients.csv"]


@pytest.mark.parametrize("way", WAYS)
def test_bad_files_are_named_and_the_good_one_is_scored(way, folder, tmp_path):
    few = ROWS[:6]
    bad = {
        "empty": b"",
        "header_only": text(few[:1]),
        "wrong_encoding": text(few) + "Größe\n".encode("latin-1"),
        "ragged": text([*few, few[1][:-1]]),
    }
    if way in SAME_MODEL:
        bad["missing_column"] = text([row[1:] for row in few])
        bad["extra_column"] = text([[*row, "label" if number == 0 else "1"] for number, row in enumerate(few)])
        bad["no_number"] = text([*few[:3], ["n/a", *few[3][1:]], *few[4:]])
    place = folder(way, good=text(few), **bad)
    code, said = run(way, tmp_path, **place)
    assert code != 0 and f"{len(bad)} of {len(bad) + 1} files could not be scored" in said
    assert names(WAYS[way][0], place["score_offline_output"]) == ["good.csv", "manifest.json"]
    why = {"missing_column": "radius_mean", "extra_column": "label", "no_number": "radius_mean"}
    for name in bad:
        message = re.search(rf" {name}\.csv: (.*?)(?= \w+\.csv: | What could be )", said.split("could not be scored:")[-1])
        assert message and why.get(name, "") in message.group(1), name
    assert re.search(r" no_number\.csv: ((?!\.csv).)*\b(line|row) 4\b", said.split("could not be scored:")[-1], re.I) or way == "workflow"


@pytest.mark.parametrize(
    "way, variables, why",
    [
        ("local", {"score_offline_model_version": "", "score_offline_model_stage": "Dev"}, "Dev"),
        ("local", {"score_offline_model_version": "", "score_offline_model_stage": "Production"}, "Production"),
        ("local", {"score_offline_model_version": "99"}, "99"),
        ("local", {"score_offline_model_name": "nobody"}, "nobody"),
        ("workflow", {"score_offline_workflow_id": "8"}, "no such table: patients"),
        ("workflow", {"score_offline_workflow_id": "9", "score_offline_timeout": "5"}, "5"),
        ("workflow", {"score_offline_workflow_id": "404"}, "404"),
        ("scorer_image", {"scorer_entrypoint": ["/bin/false"]}, "a.csv"),
        ("scorer_image", {"scorer_entrypoint": ["sh", "-c"], "scorer_command": [TOO_FEW]}, "it has 5 rows, but 2 were scored"),
        ("scorer_image", {"scorer_release": "9.9.9"}, "scorer_images has no image for release 9.9.9"),
        ("scorer_image", {"score_offline_model_name": "nobody"}, "nobody"),
    ],
)  # fmt: skip
def test_what_cannot_score_leaves_nothing(way, variables, why, folder, tmp_path):
    place = folder(way, a=text(ROWS[:6]))
    code, said = run(way, tmp_path, **variables, **place)
    assert code != 0 and why in said, said[-3000:]
    assert names(WAYS[way][0], place["score_offline_output"]) == []


# What is needed to ask MLflow on its host, without the proxy that may be in front of it.
ASK = """
import json, pathlib, shutil, urllib.request

def ask(call, **values):
    body = json.dumps(values).encode() if values else None
    request = urllib.request.Request(API + "/api/2.0/mlflow/" + call, body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))

def find(name):
    found = ask("model-versions/get?version=1&name=" + name)["model_version"]
    return found, next(pathlib.Path("/var/lib/mlflow/artifacts").glob("*/%s/artifacts/model" % found["run_id"]))
"""
# The model's files less its numbers, registered as one more version, as a run that was interrupted would leave it.
BROKEN_VERSION = """
found, whole = find("breast-cancer-risk")
broken = whole.with_name("broken")
shutil.copytree(whole, broken)
for part in broken.rglob("part-*"):
    part.write_bytes(b"")
made = ask("model-versions/create", name=found["name"], source=found["source"][:-len("model")] + "broken", run_id=found["run_id"])
print(made["model_version"]["version"])
"""
# Neither Spark nor H2O knows it: only Python can call it.
PYTHON_MODEL = """
import mlflow, mlflow.pyfunc, pandas
from mlflow.models.signature import infer_signature

class Larger(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input["radius_mean"] + 2 * model_input["area_worst"]

mlflow.set_tracking_uri(API)
mlflow.set_experiment("lab")
table = pandas.read_csv("/srv/scoring/in/patients.csv").astype("double")
with mlflow.start_run():
    mlflow.pyfunc.log_model("model", python_model=Larger(), registered_model_name="larger", pip_requirements=["mlflow==" + mlflow.__version__],
                            signature=infer_signature(table.head(5), pandas.Series([0.5], name="prediction")))
"""


def on_mlflow(program, python="python3"):
    address = sh("mlflow1", ". /etc/mlflow/mlflow.env; echo $MLFLOW_HOST:$MLFLOW_PORT").decode().strip()
    given = f"API = 'http://{address}'\n{program}"
    return sh("mlflow1", f"cd /tmp && HOME=/tmp runuser -u mlflow -- {python} -", data=given.encode()).decode().strip()


@pytest.fixture(scope="session", name="broken_version")
def fixture_broken_version():
    return on_mlflow(ASK + BROKEN_VERSION)


@pytest.mark.parametrize("way", ["local", "cluster"])
def test_registered_model_that_does_not_load(way, folder, tmp_path, broken_version):
    place = folder(way, a=text(ROWS[:6]))
    code, said = run(way, tmp_path, **place, score_offline_model_version=broken_version)
    assert code != 0 and "The model could not be loaded" in said, said[-3000:]
    assert names(WAYS[way][0], place["score_offline_output"]) == []


def test_model_that_does_not_load_in_the_image(folder, tmp_path):
    place = folder("scorer_image", a=text(ROWS[:6]))
    sh("scorer1", "rm -rf /srv/broken && cp -r /var/lib/sparkflows-scorer/models/breast-cancer-risk /srv/broken"
                  " && find /srv/broken -name 'part-*' -delete && chmod -R a+rX /srv/broken")
    code, said = run("scorer_image", tmp_path, **place, scorer_model_path="/srv/broken")
    assert code != 0 and "ended with status 4" in said and "The model does not load" in said, said[-3000:]
    assert names("scorer1", place["score_offline_output"]) == []


@pytest.mark.parametrize("way", WAYS)
def test_full_disk(way, folder, tmp_path):
    host, place = WAYS[way][0], folder(way, a=text(ROWS))
    sh(host, 'mkdir -p "$1" && mount -t tmpfs -o size=200k none "$1"', place["score_offline_output"])
    try:
        # Room for the scored file is there when the run is planned, and is then taken by somebody else: too little for the last column.
        size = len(text(ROWS))
        sh(host, 'head -c "$2" /dev/zero > "$1/other"', place["score_offline_output"], str((200 * 1024 - size) // 4096 * 4096 - 4096))
        code, said = run(way, tmp_path, **place)
        assert code != 0 and re.search("No space left|KiB free", said), said[-3000:]
        assert names(host, place["score_offline_output"]) == ["other"]
    finally:
        sh(host, 'umount "$1"', place["score_offline_output"])


# Trained by converge.yml. The scorer image gets the model as a folder that is on its host already.
@pytest.fixture(scope="session", name="h2o_model")
def fixture_h2o_model(request):
    name = request.param
    folder = on_mlflow(ASK + f"print(find({name!r})[1])")
    packed = sh("mlflow1", 'tar -C "$1" -c .', folder)
    sh("scorer1", 'mkdir -p "/srv/$1" && tar -C "/srv/$1" -x --no-same-owner && chmod -R a+rX "/srv/$1"', name, data=packed)
    return name, trained("breast-cancer-h2o", "python" if name.endswith("python") else "prediction")


@pytest.mark.parametrize("h2o_model", ["breast-cancer-h2o", "breast-cancer-h2o-python"], indirect=True)
@pytest.mark.parametrize("way", ["scorer_image", "cluster"])
def test_h2o_models(way, h2o_model, folder, tmp_path):
    name, expected = h2o_model
    place = folder(way, patients=text(ROWS))
    if way == "scorer_image":
        place["scorer_model_path"] = f"/srv/{name}"
    code, said = run(way, tmp_path, **place, score_offline_model_name=name)
    assert code == 0, said[-3000:]
    scored = table(read(WAYS[way][0], f"{place['score_offline_output']}/patients.csv"))
    # H2O's client for Python reads what the model predicted in training without the last bit of some numbers.
    assert [float(row[-1]) for row in scored[1:]] == pytest.approx(expected, rel=1e-15, abs=1e-15)


def test_python_model_and_parquet(folder, tmp_path):
    python = sh("mlflow1", "systemctl show -P ExecStart mlflow | grep -o '/[^ ]*/bin/' | head -n 1").decode().strip() + "python"
    on_mlflow(PYTHON_MODEL, python)
    place = folder("local", same=text(ROWS))
    # pandas reads the last bit of some numbers otherwise.
    in_pandas = "import pandas, sys; pandas.read_csv(sys.argv[1], float_precision='round_trip').to_parquet(sys.argv[2])"
    sh("mlflow1", f'{python} -c "$@"', in_pandas, *(f"{place['score_offline_input']}/same.{kind}" for kind in ("csv", "parquet")))
    code, said = run("local", tmp_path, **place, score_offline_model_name="larger")
    assert code == 0, said[-3000:]
    radius, area = ROWS[0].index("radius_mean"), ROWS[0].index("area_worst")
    expected = [float(row[radius]) + 2 * float(row[area]) for row in ROWS[1:]]
    scored = table(read("mlflow1", f"{place['score_offline_output']}/same.csv"))
    assert [float(row[-1]) for row in scored[1:]] == expected
    out_of_pandas = f"import pandas; print(pandas.read_parquet('{place['score_offline_output']}/same.parquet').to_csv(index=False), end='')"
    from_parquet = table(sh("mlflow1", f'{python} -c "$1"', out_of_pandas))
    assert [[float(value) for value in row] for row in from_parquet[1:]] == [[float(value) for value in row] for row in scored[1:]]
    assert from_parquet[0] == scored[0]
    # What was given is there as it was, each value and its type.
    compare = ("import pandas, sys; given, scored = map(pandas.read_parquet, sys.argv[1:]); "
               "pandas.testing.assert_frame_equal(scored.drop(columns='prediction'), given, check_exact=True); print(scored.columns[-1], len(given))")
    paths = [f"{place[key]}/same.parquet" for key in ("score_offline_input", "score_offline_output")]
    assert sh("mlflow1", f'{python} -c "$@"', compare, *paths).decode().split() == ["prediction", str(len(ROWS) - 1)]


def test_the_hosts_of_the_cluster_reach_each_other_on_its_ports_and_nobody_else_does():
    touch = "timeout 3 bash -c ': </dev/tcp/spark1/'$1 2>/dev/null && echo open || echo closed"
    # Something answers on the first port of jobs, and on one that is not the cluster's.
    listen = "systemd-run --quiet --collect --unit=listener-$port timeout 60 python3 -m http.server $port"
    sh("spark1", f"for port in 7100 7200; do {listen}; done; sleep 2")
    seen = {host: {port: sh(host, touch, port).decode().strip() for port in ("7077", "8080", "7100", "7200")} for host in ("spark2", "mlflow1")}
    assert seen == {
        "spark2": {"7077": "open", "8080": "open", "7100": "open", "7200": "closed"},
        "mlflow1": dict.fromkeys(("7077", "8080", "7100", "7200"), "closed"),
    }
