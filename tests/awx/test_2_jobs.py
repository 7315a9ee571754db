"""Every template launched in the execution environment, from fresh machines to scored rows, and what AWX keeps of each job."""

from __future__ import annotations

import base64
import csv
import io

import pytest
from awx_lab import ROWS, TEMPLATES, warnings


@pytest.fixture(scope="module", name="secrets")
def fixture_secrets(launcher):
    """What nobody may read: all secret inputs of the credentials, as they are and as a login carries them."""
    found = [line for line in launcher.key.splitlines() if len(line) > 40]
    for credential in launcher.credentials.values():
        inputs = credential["inputs"]
        kind = launcher.types.get(credential["credential_type"], {"inputs": {"fields": []}})
        secret = [inputs[field["id"]] for field in kind["inputs"]["fields"] if field.get("secret")]
        found += secret + [base64.b64encode(f"{inputs.get('username', '')}:{value}".encode()).decode() for value in secret]
    assert len(found) > 8 and all(len(secret) > 15 for secret in found)
    return found


@pytest.mark.parametrize("name", TEMPLATES)
def test_job_succeeds_without_a_warning(jobs, name):
    job = jobs[name]
    assert job.status == "successful", job.output
    assert warnings(job) == []
    assert not any(event["event"] in ("runner_on_failed", "runner_on_unreachable") and not event["event_data"].get("ignore_errors")
                   for event in job.events)  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_job_ran_what_is_checked_out(jobs, name):
    """The collection comes with the project; the execution environment has only what the project needs."""
    paths = {event["event_data"]["task_path"] for event in jobs[name].events if "/roles/" in event.get("event_data", {}).get("task_path", "")}
    assert paths and all(path.startswith("/runner/project/") for path in paths)


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_secret_is_kept(jobs, secrets, name):
    kept = jobs[name].kept()
    assert len(kept) > 10
    assert [str(path) for path, content in kept.items() for secret in secrets if secret.encode() in content] == []


@pytest.mark.parametrize("name", ["site", "verify"])
def test_summary_of_the_proof(jobs, name, known):
    summary = jobs[name].artifacts["acceptance"]
    assert summary["verdict"] == "passed"
    assert summary["checks"] == summary["passed"] > 15 and summary["failed"] == summary["skipped"] == 0
    address = {host: values["ansible_host"] for host, values in known["hosts"].items()}
    assert summary["endpoints"]["mlflow"] == f"https://{address['mlflow1']}:5000"
    assert summary["endpoints"]["sparkflows"] == f"https://{address['sparkflows1']}:8443"
    models = [{"model": "breast-cancer-risk", "host": "mlflow1", "url": f"http://{address['mlflow1']}:5001/invocations"}]
    assert (summary["endpoints"]["models"], summary["scored_rows"]) == (([], 0) if name == "site" else (models, ROWS))


def test_summary_of_the_served_models(jobs, known):
    url = f"http://{known['hosts']['mlflow1']['ansible_host']}:5001/invocations"
    assert jobs["serve models"].artifacts == {"served_models": {"mlflow1": [{"model": "breast-cancer-risk", "version": 1, "url": url}]}}


@pytest.mark.parametrize("name, host", [
    ("score offline with a workflow", "sparkflows1"), ("score offline with the scorer image", "scorer1"),
    ("score offline with a registered model", "mlflow1")])  # fmt: skip
def test_summary_of_offline_scoring(lab, jobs, name, host):
    summary = jobs[name].artifacts["score_offline"]
    assert (summary["verdict"], summary["host"], summary["rows"]) == ("passed", host, ROWS)
    assert summary["scored"] == ["patients.csv"] and summary["failed"] == {}
    scored = list(csv.reader(io.StringIO(lab.sh(host, "cat /srv/scoring/out/awx/patients.csv"))))
    assert len(scored) == ROWS + 1 and scored[0][-1] == "prediction"


def test_archive_that_was_made_is_restored(lab, jobs):
    path = jobs["back up"].artifacts["backups"]["mlflow1"]
    assert lab.sh("mlflow1", f"stat --format %a:%U {path}").strip() == "600:root"
    assert f"{path} is restored: MLflow answers with all of its" in jobs["restore"].text


def test_there_is_nothing_to_upgrade_to_roll_back_and_to_move(jobs):
    assert "is live already: nothing is to be upgraded" in jobs["upgrade"].text and jobs["upgrade"].artifacts == {}
    assert "There is no upgrade of this host that could be rolled back" in jobs["roll back"].text
    assert "MLflow has the stores that the inventory names: nothing is to be moved" in jobs["move stores"].text


def test_site_changed_the_machines(jobs):
    """Otherwise nothing that is said about checks would mean anything."""
    assert set(jobs["site"].changed) == {"mlflow1", "sparkflows1", "scorer1"}
