"""The method scorer_image of offline scoring: what goes wrong on a real Docker host is told, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import PROJECT, Lab

IMAGE = "{{ lab_registry }}/sparkflows/scorer"
UNKNOWN = {"3.3.42": f"{IMAGE}:py_3.2.1_3.3.42@sha256:{'0' * 64}"}
# Writes the first three rows only, as an image that dies quietly would.
TOO_FEW = ["sh", "-c", 'head -n 4 "$0" | sed "1s/$/,prediction/; 2,\\$s/$/,0.5/" > "$1"']
ALL = ["sh", "-c", 'sed "1s/$/,prediction/; 2,\\$s/$/,0.5/" "$0" > "$1"']


class ScorerLab(Lab):
    environment = {"LAB_NAME": "integration-scorer"}

    def command(self, *arguments):
        return ["ansible-playbook", "--inventory=inventories/one_scorer", *arguments]

    def on_scorer(self, script):
        name = self.environment["LAB_NAME"] + "-scorer1"
        return subprocess.run(["docker", "exec", name, "sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout

    def score(self, **variables):
        variables = {"score_offline_method": "scorer_image", "scorer_model_path": "/srv/model", "score_offline_input": "/srv/in",
                     "score_offline_output": "/srv/out", "scorer_command": ["{input}", "{output}"], **variables}
        return self.run("score_offline.yml", "--extra-vars", json.dumps(variables))


@pytest.fixture(scope="module", name="lab")
def fixture_scorer_lab():
    lab = ScorerLab()
    lab.fresh()
    run = lab.run("scorer.yml", "--check")
    assert run.returncode == 0, run.output
    run = lab.run("scorer.yml")
    assert run.returncode == 0, run.output
    name = lab.environment["LAB_NAME"] + "-scorer1"
    lab.on_scorer("mkdir -p /srv/in /srv/model /srv/newer && echo model > /srv/model/MLmodel")
    lab.on_scorer("echo '    pyspark_version: 3.5.8' > /srv/newer/MLmodel")
    subprocess.run(["docker", "cp", PROJECT / "tests/data/breast-cancer-wisconsin/data.csv", name + ":/srv/in/a.csv"], check=True)
    lab.on_scorer("cp /srv/in/a.csv '/srv/in/b, [2].csv' && chmod a+r /srv/in/*; chmod a+rx /srv/model")
    yield lab
    lab.run("lab_down.yml")


def test_second_run_changes_nothing_and_no_password_is_left(lab):
    run = lab.run("scorer.yml")
    assert run.returncode == 0 and run.changed["scorer1"] == 0, run.output
    password = (PROJECT / f".cache/lab/{lab.environment['LAB_NAME']}/secrets/registry_password")
    if password.exists():
        assert lab.on_scorer(f"grep -rlF '{password.read_text().split()[0]}' /root /etc /tmp /var/lib/sparkflows-scorer 2>/dev/null || true") == ""


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"scorer_release": "9.9.9"}, ["no image for release 9.9.9, it has 3.3.42", "scorer_release"]),
        ({"scorer_images": UNKNOWN}, ["no image of that digest", "scorer_images"]),
        ({"scorer_images": {"3.3.42": f"{IMAGE}:py_3.2.1_3.3.42"}}, ["@sha256:<64 hexadecimal digits>"]),
        ({"scorer_images": {"3.3.42": f"{IMAGE}:py_3.2.1_3.2.81@sha256:{'0' * 64}"}}, ["py_3.2.1_3.2.81", "not one of release 3.3.42"]),
        ({"scorer_images": UNKNOWN, "scorer_registry_password": "wrong"}, ["scorer_registry_password"]),
        ({"scorer_user": "0:0"}, ["scorer_user is 0:0", "other than root"]),
        ({"scorer_timeout": 0}, ["scorer_timeout must be a number from 1 on"]),
    ],
)
def test_another_image_is_refused(lab, variables, words):
    run = lab.run("scorer.yml", "--extra-vars", json.dumps(variables))
    assert run.returncode != 0 and run.changed["scorer1"] == 0, run.output
    assert all(word in run.text for word in words), run.output


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"scorer_model_path": "/srv/nothing"}, ["/srv/nothing is no directory", "scorer_model_path"]),
        ({"scorer_model_path": ""}, ["scorer_model_id or scorer_model_name", "scorer_model_path"]),
        ({"scorer_model_path": "/srv/newer"}, ["the model /srv/newer was made with Spark 3.5.8, and the scorer image", "py_3.2.1_3.3.42@sha256:",
                                               "has Spark 3.2.1 (scorer_spark_version)", "score_offline_method=registered_model"]),
        ({"scorer_entrypoint": ["sh", "-c", "echo a broken model; exit 7"]}, ["a.csv: The scorer image ended with status 7: a broken model"]),
        ({"scorer_entrypoint": TOO_FEW}, ["a.csv: it has 569 rows, but 3 were scored"]),
        ({"scorer_entrypoint": ["sh", "-c", "ln -s /etc/shadow \"$1\""]}, ["a.csv: The scorer image ended well, but wrote no file /output/a.csv"]),
        ({"scorer_entrypoint": ["sh", "-c", "echo busy; sleep 600"], "scorer_timeout": 5}, ["stopped after 5 seconds (scorer_timeout): busy"]),
        ({"scorer_entrypoint": ["sh", "-c", "touch /x; touch /model/x; ls /sys/class/net; exit 1"]}, ["'/x': Read-only", "'/model/x': Read-only"]),
    ],
)
def test_what_fails_is_named_and_leaves_nothing(lab, variables, words):
    run = lab.score(**variables)
    assert run.returncode != 0, run.output
    assert all(word in run.text for word in words), run.output
    assert lab.on_scorer("ls -A /srv/out /var/lib/sparkflows-scorer/runs 2>/dev/null | grep csv || true; docker ps --all --quiet") == ""


def test_files_with_odd_names_are_scored_once(lab):
    run = lab.score(scorer_entrypoint=ALL)
    assert run.returncode == 0, run.output
    assert lab.on_scorer("wc -l < '/srv/out/b, [2].csv'").strip() == "570"
    again = lab.score(scorer_entrypoint=ALL)
    assert again.returncode == 0 and again.changed["scorer1"] == 0, again.output
