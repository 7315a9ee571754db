"""A backup of PostgreSQL and S3 brought back: tables take each other's place, objects are compared with the list. The tests build on each other."""

import json

import boto3
import pytest
from conftest import LAB_DIR, content, play, secret, with_mlflow

TRACKING = "http://127.0.0.1:5000"


@pytest.fixture(name="bucket", scope="module")
def fixture_bucket(store):
    return boto3.resource(
        "s3", endpoint_url=f"https://{store.interface('eth0').addresses[0]}:8443", aws_access_key_id="mlops:mlflow",
        aws_secret_access_key=secret("s3_secret_key"), region_name="us-east-1", verify=str(LAB_DIR / "tls/ca.pem")).Bucket("registry")


def log(number):
    assert with_mlflow("log_runs.py", TRACKING, str(number), "-").communicate(timeout=600)[0].split() == [str(number)]


def restore(tmp_path, *arguments, **variables):
    path = tmp_path / "restore.yml"
    path.write_text(json.dumps({"mlflow": {"vars": variables}}), encoding="utf-8")
    return play(f"--inventory={path}", "playbooks/restore.yml", *arguments)


@pytest.fixture(name="archive", scope="module")
def fixture_archive(mlflow, tmp_path_factory):
    """An archive that was verified, all that MLflow had then, and all that it has now."""
    mlflow.run_expect([0], "rm -rf /var/backups/mlflow /var/lib/mlflow-restore")
    log(3)
    then = content(TRACKING)
    path = tmp_path_factory.mktemp("inventory") / "backup.yml"
    path.write_text(json.dumps({"mlflow": {"vars": {"backup_verify": True}}}), encoding="utf-8")
    made = play(f"--inventory={path}", "playbooks/backup.yml")
    assert made.returncode == 0, made.text
    assert all(words in made.text for words in ("Verified: loaded into a schema of its own beside", "opened by a scratch instance of MLflow, and"))
    log(2)
    return {"path": mlflow.check_output("ls -d /var/backups/mlflow/*"), "then": then, "now": content(TRACKING)}


def test_verifying_leaves_nothing(archive, schemas):
    assert schemas() == [] and len(archive["now"]["runs"]) == len(archive["then"]["runs"]) + 4


def test_tables_are_as_they_were_then(mlflow, archive, schemas, tmp_path):
    done = restore(tmp_path, restore_archive=archive["path"])
    assert done.returncode == 0, done.text
    assert content(TRACKING) == archive["then"]
    (kept,) = schemas()
    assert kept.startswith("mlflow_before_") and f"What served before is kept as schema {kept} of the database" in done.text
    assert mlflow.check_output("ls -A /var/lib/mlflow-restore").split() == ["last.json", "outcome.json"]
    log(1)
    again = restore(tmp_path, restore_archive=archive["path"])
    assert again.returncode == 0 and again.changed["mlflow1"] == 0, again.text
    assert len(content(TRACKING)["runs"]) == len(archive["then"]["runs"]) + 2


def test_an_object_that_is_gone(archive, bucket, schemas, tmp_path):
    kept, before = schemas(), content(TRACKING)
    run, one = next((run, one) for run, one in archive["then"]["runs"].items() if one["artifacts"])
    (key,) = (item.key for item in bucket.objects.all() if run in item.key)
    bucket.Object(key).delete()
    done = restore(tmp_path, restore_archive=archive["path"], restore_again=True)
    assert done.returncode != 0 and "1 of the objects that it lists are not in s3://registry/mlflow any more" in done.text, done.text
    assert key in done.text and "restore_accept_missing_artifacts" in done.text
    assert schemas() == kept and content(TRACKING)["experiments"] == before["experiments"]
    done = restore(tmp_path, restore_archive=archive["path"], restore_again=True, restore_accept_missing_artifacts=True, restore_keep_previous=False)
    assert done.returncode == 0, done.text
    found = content(TRACKING)
    assert found["runs"].pop(run)["artifacts"] == {} and one["artifacts"]
    assert found["runs"] == {name: other for name, other in archive["then"]["runs"].items() if name != run}
    assert schemas() == kept
