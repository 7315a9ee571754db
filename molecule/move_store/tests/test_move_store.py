"""MLflow goes from SQLite and a directory to PostgreSQL and S3, with failures and kills on the way. The tests build on each other."""

import json

import boto3
import pytest
import yaml
from conftest import LAB_DIR, PROJECT, content, play, secret
from lifecycle_steps import STATE, TRACKING, fixture_killed_at, log, process  # noqa: F401 - pytest finds fixtures by their import

STORES = yaml.safe_load((PROJECT / "inventories/stores/group_vars/all/stores.yml").read_text(encoding="utf-8"))
WANTED = {name: STORES[name] for name in ("mlops_database_host", "mlops_s3_bucket")}
STEPS = ["Copying the artifacts", "Copying the rows", "Comparing the new database", "Changing Emptied", "Changing Entries", "Starting", "Asking"]


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    """A run of a playbook with the new stores in the inventory, and more variables."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "group_vars/mlflow").mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {}\n", encoding="utf-8")

    def run(playbook, *arguments, **variables):
        (folder / "group_vars/mlflow/stores.yml").write_text(json.dumps({**WANTED, **variables}), encoding="utf-8")
        done = play(f"--inventory={folder}", f"playbooks/{playbook}.yml", "--diff", *arguments)
        assert secret("database_password") not in done.output and secret("s3_secret_key") not in done.output
        return done

    return run


@pytest.fixture(name="bucket", scope="module")
def fixture_bucket(store):
    return boto3.resource(
        "s3", endpoint_url=f"https://{store.interface('eth0').addresses[0]}:8443", aws_access_key_id="mlops:mlflow",
        aws_secret_access_key=secret("s3_secret_key"), region_name="us-east-1", verify=str(LAB_DIR / "tls/ca.pem")).Bucket("registry")  # fmt: skip


@pytest.fixture(name="query", scope="module")
def fixture_query(store):
    def ask(statement):
        return store.check_output("runuser -u postgres -- psql -XAtd mlflow -c %s", statement)

    return ask


@pytest.fixture(name="seen", scope="module")
def fixture_seen():
    """What there was after each step."""
    return {}


def on_disk(mlflow):
    """What served first, byte by byte."""
    return mlflow.check_output("find /var/lib/mlflow/db/mlflow.db /var/lib/mlflow/artifacts -type f | sort | xargs -d '\\n' sha256sum")


def tables(query):
    """How many there are, and which schemas of ours."""
    number = query("SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|information)'")
    return number, query("SELECT nspname FROM pg_namespace WHERE nspname ~ '^mlflow'")


def test_check_mode_changes_nothing(mlflow, run, seen, bucket, query):
    log(12)
    seen["then"], seen["disk"] = content(TRACKING), on_disk(mlflow)
    assert len(seen["then"]["runs"]) >= 24 and seen["then"]["models"]
    before = process(mlflow)
    done = run("move_store", "--check")
    assert done.returncode == 0, done.text
    for words in ("It would move the database /var/lib/mlflow/db/mlflow.db", "24 runs", "store1:5432/mlflow", "12 artifacts", "s3://registry/mlflow",
                  "is not known before the first rehearsal", "Nothing was changed"):  # fmt: skip
        assert words in done.text, done.text
    assert process(mlflow) == before and on_disk(mlflow) == seen["disk"] and not list(bucket.objects.all()) and tables(query) == ("0", "")
    assert not mlflow.file(STATE).exists and not mlflow.file("/etc/systemd/system/mlflow-move.service").exists


def test_mlflow_does_not_start_with_empty_stores(mlflow, run):
    before = process(mlflow)
    done = run("mlflow")
    assert done.returncode != 0 and set(done.changed.values()) == {0}, done.text
    assert "MLflow's database is in SQLite and not empty, and PostgreSQL is asked for" in done.text, done.text
    for words in ("MLflow's artifacts are in a directory", "playbooks/move_store.yml takes along what is there", "mlflow_stores_start_empty"):
        assert words in done.text
    assert process(mlflow) == before


def test_what_is_in_the_way_is_named(mlflow, run, bucket, query):
    before = process(mlflow)
    bucket.put_object(Key="mlflow/somebody/elses", Body=b"x")
    done = run("move_store")
    assert done.returncode != 0 and "somebody/elses" in done.text and "mlops_s3_prefix" in done.text and set(done.changed.values()) == {0}, done.text
    bucket.Object("mlflow/somebody/elses").delete()
    query("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('abc'); GRANT SELECT ON alembic_version TO mlflow")
    done = run("move_store")
    assert done.returncode != 0 and "has tables of MLflow already" in done.text and set(done.changed.values()) == {0}, done.text
    query("DROP TABLE alembic_version")
    done = run("move_store", mlops_stack="mlflow-2")
    assert done.returncode != 0 and "run playbooks/upgrade.yml first" in done.text and set(done.changed.values()) == {0}, done.text
    assert process(mlflow) == before and not list(bucket.objects.all())


def test_only_rehearsed(mlflow, run, seen, bucket, query):
    before = process(mlflow)
    done = run("move_store", store_move_only_rehearse=True)
    assert done.returncode == 0 and "MLflow was not stopped, and has the stores that it had" in done.text, done.text
    assert process(mlflow) == before and on_disk(mlflow) == seen["disk"] and content(TRACKING) == seen["then"]
    assert len(list(bucket.objects.all())) == 12 and tables(query) == ("0", "")
    assert sorted(mlflow.check_output(f"ls -A {STATE}").split()) == ["move-rehearsal.json", "uploaded.jsonl"]
    done = run("move_store", "--check")
    assert "12 artifacts of them are in the bucket already" in done.text and "The last rehearsal, " in done.text, done.text


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_it_switches(mlflow, run, seen, query, killed_at, step):
    killed_at(step, unit_name="mlflow-move")
    done = run("move_store")
    assert done.returncode != 0 and step in done.text and "The move was cut off" in done.text, done.text
    assert "is in its place again, and serves" in done.text
    assert content(TRACKING) == seen["then"] and on_disk(mlflow) == seen["disk"] and mlflow.service("fire-mlops-server").is_running
    assert "sqlite:///" in mlflow.check_output("grep BACKEND_STORE /etc/mlflow/mlflow.env") and tables(query) == ("0", "")
    assert not mlflow.run(f"ls {STATE} | grep moving").stdout


def test_moved(mlflow, run, seen, query):
    # What has come since the rehearsal.
    log(1)
    seen["then"], seen["disk"] = content(TRACKING), on_disk(mlflow)
    done = run("move_store")
    assert done.returncode == 0, done.text
    assert "MLflow has other stores: the database /var/lib/mlflow/db/mlflow.db" in done.text and "13 artifacts" in done.text, done.text
    assert "What served before is untouched in /var/lib/mlflow/db/mlflow.db and /var/lib/mlflow/artifacts" in done.text
    assert on_disk(mlflow) == seen["disk"] and mlflow.check_output("ls /var/lib/mlflow/db").split() == ["mlflow.db"]
    now = content(TRACKING)
    for model in seen["then"]["models"].values():
        for version in model["versions"].values():
            version[1] = version[1].replace("mlflow-artifacts:/", "s3://registry/mlflow/")
    assert now == seen["then"]
    assert query("SELECT count(*) FROM runs WHERE artifact_uri NOT LIKE 's3://registry/mlflow/%'") == "0"
    assert query("SELECT nspname FROM pg_namespace WHERE nspname ~ '^mlflow'") == ""
    print(json.loads(mlflow.check_output(f"cat {STATE}/outcome.json"))["downtime"])


def test_a_second_run_changes_nothing(mlflow, run):
    before = process(mlflow)
    done = run("move_store")
    assert done.returncode == 0 and set(done.changed.values()) == {0} and "nothing is to be moved" in done.text, done.text
    done = run("mlflow")
    assert done.returncode == 0 and set(done.changed.values()) == {0}, done.text
    assert process(mlflow) == before


def test_new_runs_go_to_the_new_stores(mlflow, seen, bucket):
    log(2)
    now = content(TRACKING)
    assert len(now["runs"]) == len(seen["then"]["runs"]) + 4 and len(list(bucket.objects.all())) == 15 and on_disk(mlflow) == seen["disk"]


def test_nothing_takes_it_back(mlflow, run):
    before = process(mlflow)
    for playbook in ("mlflow", "move_store"):
        done = run(playbook, mlops_database_host="", mlops_s3_bucket="")
        assert done.returncode != 0 and set(done.changed.values()) == {0} and "mlops_database_host" in done.text, done.text
    assert process(mlflow) == before
    journal = mlflow.check_output("journalctl --no-pager --output=cat -u mlflow-move; cat /etc/systemd/system/mlflow-move.service")
    assert secret("database_password") not in journal and secret("s3_secret_key") not in journal
