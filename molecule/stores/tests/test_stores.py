"""MLflow on PostgreSQL and S3, seen from the stores and from the hosts."""

import json
import re
from urllib.parse import quote

import boto3
import pytest
from conftest import LAB_DIR, play, secret

S3_SECRET = secret("s3_secret_key")
# As inventories/stores makes it.
PASSWORD = secret("database_password") + "@:/?#%+& '\"\\$`ä"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "mlops:mlflow", "AWS_SECRET_ACCESS_KEY": S3_SECRET, "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CA_BUNDLE": "/etc/ssl/lab-ca.pem", "AWS_CONFIG_FILE": "/opt/mlflow/etc/s3.conf", "MLFLOW_S3_ENDPOINT_URL": "https://store1:8443"}
SCHEMA = "/opt/mlflow/current/bin/python /opt/mlflow/libexec/mlflow_schema.py"


@pytest.fixture(name="evidence", scope="module")
def fixture_evidence(report):
    assert report["summary"]["failed"] == 0
    return {check["name"]: check["evidence"] for check in report["checks"]}


@pytest.fixture(name="query", scope="module")
def fixture_query(store):
    def run(statement, database="mlflow"):
        return store.check_output("runuser -u postgres -- psql -XAtd %s -c %s", database, statement)

    return run


def test_registry_is_in_the_database(query, mlflow):
    assert query("SELECT name, version, source FROM model_versions").startswith("breast-cancer-risk|1|s3://registry/mlflow/")
    assert not mlflow.file("/var/lib/mlflow/db/mlflow.db").exists


def test_connections_to_the_database_are_protected(query):
    assert set(query("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'mlflow'").split()) == {"t"}


def test_artifacts_are_in_the_bucket(store, mlflow):
    client = boto3.client(
        "s3", endpoint_url=f"https://{store.interface('eth0').addresses[0]}:8443", aws_access_key_id="mlops:mlflow",
        aws_secret_access_key=S3_SECRET, region_name="us-east-1", verify=str(LAB_DIR / "tls/ca.pem"))
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="registry")["Contents"]]
    assert any(re.fullmatch(r"mlflow/\d+/[0-9a-f]{32}/artifacts/model/MLmodel", key) for key in keys), keys
    # The probes of preflight and acceptance are gone.
    assert not [key for key in keys if "probe" in key]
    assert mlflow.check_output("find /var/lib/mlflow/artifacts -type f") == ""


def test_model_from_the_bucket_scores_as_it_did_in_training(evidence):
    assert evidence["score breast-cancer-risk"].startswith("569 rows") and "all predictions equal" in evidence["score breast-cancer-risk"]


def test_fire_mlops_server_has_the_credentials_and_they_work(mlflow, evidence):
    pid = mlflow.service("fire-mlops-server").systemd_properties["MainPID"]
    environment = dict(line.partition("=")[::2] for line in mlflow.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ").splitlines())
    assert CREDENTIALS.items() <= environment.items()
    assert "s3://registry/mlflow/" in evidence["artifact round trip"]


def test_sparkflows_has_the_credentials(sparkflows):
    state = json.loads(sparkflows.check_output("cat /var/lib/sparkflows-double/state.json"))
    text = json.dumps(state)
    for value in ("mlops:mlflow", S3_SECRET, "https://store1:8443"):
        assert json.dumps(value)[1:-1] in text


@pytest.mark.parametrize("secret", [PASSWORD, quote(PASSWORD, safe=""), PASSWORD[:24], S3_SECRET])
def test_secrets_are_on_no_command_line_in_no_unit_and_no_journal(mlflow, secret):
    for command in ("ps -eo args", "cat /etc/systemd/system/*.service /etc/systemd/system/*/*.conf", "journalctl --no-pager --output=cat"):
        assert secret not in mlflow.run(command).stdout
    found = mlflow.run("grep -rlF -e %s /etc /opt/mlflow/etc /opt/mlflow/libexec /var/lib/mlflow /var/log", secret).stdout
    # Settings of services, and no one else's.
    assert all(re.match(r"/etc/mlflow/.*\.env$", path) for path in found.split())
    assert not [path for path in found.split() if mlflow.file(path).mode & 0o007]


# extra variables -> what is said
REFUSED = {
    "password": ({"mlops_database_password": "wrong"}, ["password authentication failed", "mlops_database_password"]),
    "database": ({"mlops_database_name": "registry"}, ["does not exist", "mlops_database_name"]),
    "no-tls-trust": ({"mlops_database_ca_path": ""}, ["is not trusted", "mlops_database_ca_path"]),
    "bucket": ({"mlops_s3_bucket": "elsewhere"}, ["no such bucket", "mlops_s3_bucket"]),
    "secret": ({"mlops_s3_secret_key": "wrong"}, ["refuses the login", "mlops_s3_secret_key"]),
    "reader": ({"mlops_s3_access_key": "mlops:reader", "mlops_s3_secret_key": "{{ lookup('file', lab_dir ~ '/secrets/s3_reader_key') }}"},
               ["may list and read", "write (s3:PutObject; AccessDenied", "mlops_s3_access_key"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_changed(mlflow, name):
    extra, words = REFUSED[name]
    before = mlflow.check_output("stat -c '%Y %n' /etc/mlflow/mlflow.env; systemctl show -p MainPID mlflow")
    run = play("--extra-vars", json.dumps(extra), "playbooks/preflight.yml", "playbooks/mlflow.yml")
    assert run.returncode != 0 and all(word in run.text for word in words), run.output
    assert set(run.changed.values()) == {0} and PASSWORD[:24] not in run.output
    assert mlflow.check_output("stat -c '%Y %n' /etc/mlflow/mlflow.env; systemctl show -p MainPID mlflow") == before


OLD = "cc1f77228345"
MAKE_OLD = f"""
import os
import sqlalchemy
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
engine = sqlalchemy.create_engine(uri)
Base.metadata.create_all(engine)
config = _get_alembic_config(uri)
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "{OLD}")
"""


@pytest.fixture(name="old", scope="module")
def fixture_old(mlflow, store, query):
    """A database of an earlier MLflow beside the real one, and a shell prefix to work on it as the service would."""
    store.check_output("runuser -u postgres -- dropdb --if-exists --force old && runuser -u postgres -- createdb --owner=mlflow old")
    mlflow.check_output("rm -f /var/lib/mlflow/db/old.*")
    prefix = ("set -a; . /etc/mlflow/mlflow.env; MLFLOW_BACKEND_STORE_URI=$(echo \"$MLFLOW_BACKEND_STORE_URI\" | sed 's,/mlflow?,/old?,'); "
              "set +a; cd /var/lib/mlflow; runuser -u mlflow -- ")
    mlflow.check_output(prefix + "/opt/mlflow/current/bin/python -c %s", MAKE_OLD)
    assert query("SELECT version_num FROM alembic_version", "old") == OLD
    return prefix


def test_schema_is_not_upgraded_without_a_copy(mlflow, old, query):
    run = mlflow.run(old + "env PATH=/opt/mlflow/current/bin " + SCHEMA)
    assert run.rc == 1 and "pg_dump is not installed" in run.stderr and "mlflow_server_database_backup" in run.stderr
    assert query("SELECT version_num FROM alembic_version", "old") == OLD


def test_two_at_once_upgrade_once_after_a_copy(mlflow, old, query):
    run = mlflow.run(f"{old} sh -c '{SCHEMA} > /tmp/one 2>&1 & {SCHEMA} > /tmp/two 2>&1; second=$?; wait $! && exit $second'")
    one, two = mlflow.file("/tmp/one").content_string, mlflow.file("/tmp/two").content_string
    assert run.rc == 0, one + two
    assert (one + two).count("Upgrading the schema") == (one + two).count("Copied the database") == 1
    assert query("SELECT version_num FROM alembic_version", "old") == query("SELECT version_num FROM alembic_version")
    dump = mlflow.check_output("ls /var/lib/mlflow/db/old." + OLD + ".*.dump")
    assert mlflow.file(dump).user == "mlflow"
    assert f"\n{OLD}\n" in mlflow.check_output("pg_restore --data-only --table=alembic_version --file=- %s", dump) + "\n"
    assert PASSWORD[:24] not in one + two
