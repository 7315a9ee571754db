# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the settings of a site: its database, artifact store, Spark cluster and SSH logins as the roles use them.

One filter a part, and not one for all: a setting that is looked up somewhere is looked up only where it is used.
"""

from __future__ import annotations

from urllib.parse import quote

from ansible.plugins.filter.core import to_bool, to_json
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.ssh_access import ssh_commands, ssh_peers
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host
from jinja2.filters import do_int

# Where the distributions keep the authorities that they trust.
CA_BUNDLES = {"rhel": "/etc/pki/tls/certs/ca-bundle.crt", "debian": "/etc/ssl/certs/ca-certificates.crt"}
VERIFYING = ("verify-ca", "verify-full")
# What the key of a host is known by where it is authorized.
SSH_COMMENT = "sparkflows-mlops@"


def given(values):
    return {name: value for name, value in values.items() if value != ""}


def site_database(settings, distribution):
    """MLflow's database, as SQLAlchemy and libpq name it."""
    like = [distribution.get("id"), *distribution.get("id_like", [])]
    ca_path = settings["mlops_database_ca_path"] or CA_BUNDLES["rhel" if "rhel" in like else "debian"]
    user, password, name = (quote(str(settings[f"mlops_database_{part}"]), safe="") for part in ("user", "password", "name"))
    host, sslmode = settings["mlops_database_host"], settings["mlops_database_sslmode"]
    login = ":".join(filter(None, (user, password)))
    trust = f"&sslrootcert={quote(ca_path)}" if sslmode in VERIFYING else ""
    uri = f"postgresql+psycopg2://{login}@{url_host(host)}:{settings['mlops_database_port']}/{name}?sslmode={sslmode}{trust}"
    return {"uri": uri if host else "", "ca_path": ca_path, "password_encoded": password}


def site_artifacts(settings):
    """Where artifacts are kept, and how programs get there."""
    bucket, style = settings["mlops_s3_bucket"], settings["mlops_s3_addressing_style"]
    settings_path = f"{settings['mlops_home']}/etc/s3.conf"
    # boto3 takes the style of addresses from a file only.
    needs_file = bool(bucket) and style != "auto"
    extra = settings["mlops_s3_upload_extra_args"]
    environment = given({
        "AWS_ACCESS_KEY_ID": settings["mlops_s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": settings["mlops_s3_secret_key"],
        "AWS_DEFAULT_REGION": settings["mlops_s3_region"],
        "AWS_CA_BUNDLE": settings["mlops_s3_ca_path"],
        "AWS_CONFIG_FILE": settings_path if needs_file else "",
        "MLFLOW_S3_ENDPOINT_URL": settings["mlops_s3_endpoint_url"],
        "MLFLOW_S3_IGNORE_TLS": "true" if to_bool(settings["mlops_s3_ignore_tls"]) else "",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS": to_json(extra) if extra else "",
    })
    # It holds no secret, and lies where every service may read it.
    file = {"path": settings_path, "template": "s3.conf.j2"} if needs_file else {"path": settings_path, "state": "absent"}
    return {
        "root": "/".join(filter(None, ("s3:/", bucket, str(settings["mlops_s3_prefix"]).strip("/")))) if bucket else "",
        "settings_path": settings_path,
        "files": [{"path": settings_path.rpartition("/")[0], "state": "directory"}, file],
        "environment": environment,
        "client_environment": environment if bucket and settings["mlops_artifact_access"] == "direct" else {},
    }


def site_spark(settings):
    """What master, workers and jobs of a cluster have to agree on."""
    first, secret = settings["mlops_spark_job_port_first"], settings["mlops_spark_secret"]
    return {
        # Drivers and executors take the first port that is free.
        "job_ports": {
            "spark.driver.port": first,
            "spark.blockManager.port": first,
            "spark.port.maxRetries": do_int(settings["mlops_spark_job_port_last"]) - do_int(first),
        },
        "security": {
            "spark.authenticate": "true",
            "spark.authenticate.secret": secret,
            "spark.network.crypto.enabled": "true",
            "spark.io.encryption.enabled": "true",
        }
        if secret
        else {},
    }


def site_ssh(settings, host, groups, hostvars, known_hosts_path):
    """The SSH logins between Sparkflows and MLflow, seen from one of the hosts."""
    is_mlflow = host in groups.get("mlflow", [])
    here, there = ("mlflow", "sparkflows") if is_mlflow else ("sparkflows", "mlflow")
    end = {"hosts": groups.get(there, []), "url": settings[f"mlops_{there}_url"], "user": settings[f"mlops_ssh_{there}_user"]}
    peers = ssh_peers(end, hostvars)
    return {
        "is_mlflow": is_mlflow,
        "user": settings[f"mlops_ssh_{here}_user"],
        "comment": SSH_COMMENT,
        "peers": peers,
        "commands": ssh_commands(peers, settings["mlops_ssh_key_path"], known_hosts_path),
    }
