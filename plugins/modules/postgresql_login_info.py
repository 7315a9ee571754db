#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: postgresql_login_info
short_description: Whether this host can log in to a PostgreSQL database, and make tables there
version_added: 1.0.0
description:
  - Logs in from the host that it runs on, as the program will that is to use the database, and asks what that account may
    do. Changes nothing.
  - Needs no driver and no program on the host, so that it can be asked before anything is installed there.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  host:
    description: Name or address of the server.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    default: 5432
  database:
    description: Database to log in to.
    type: str
    required: true
  user:
    description: Account to log in with.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    default: ""
  sslmode:
    description: How far the connection is protected, in the words of PostgreSQL's clients.
    type: str
    choices: [disable, prefer, require, verify-ca, verify-full]
    default: verify-full
  ca_path:
    description: CA certificate (PEM) that the server's is checked against. Without it, the system's.
    type: path
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 10
extends_documentation_fragment:
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
"""

EXAMPLES = r"""
- name: Prove the database before anything relies on it
  sparkflows.mlops.postgresql_login_info:
    host: db.example.com
    database: mlflow
    user: mlflow
    password: "{{ vault_database_password }}"
    ca_path: /etc/ssl/company-ca.pem
"""

RETURN = r"""
version:
  description: Version of the server.
  returned: success
  type: str
  sample: "17.2"
tls:
  description: Version of TLS that the connection uses, empty if it is not protected.
  returned: success
  type: str
  sample: TLSv1.3
schema_revision:
  description: Revision of the schema that Alembic (and so MLflow) has noted in the database, empty if there is none.
  returned: success
  type: str
  sample: cfd24bdc0731
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.postgresql import Connection, ServerError
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError

QUESTION = """
SELECT current_setting('server_version'), pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
       current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE'), to_regclass('alembic_version') IS NOT NULL
"""
# SQLSTATE -> what to do.
ADVICE = {
    "28P01": "correct user and password",
    "28000": "admit this host, user and sslmode in the server's pg_hba.conf, or correct them",
    "3D000": "make the database, or correct database",
    "42501": "make the account the owner of the tables",
    "53300": "raise the server's max_connections",
}


def look(connection, params):
    version, read_only, may_create, has_revision = connection.ask(QUESTION)[0]
    if read_only == "t":
        raise MlopsError("it may be read only, a standby for example: set host to the server that takes changes")
    if may_create != "t":
        raise MlopsError(
            f"{params['user']} may not make tables there: make it the owner of the database {params['database']}, "
            "or grant it CREATE on the schema public, which is nobody's right any more since PostgreSQL 15")
    rows = connection.ask("SELECT version_num FROM alembic_version") if has_revision == "t" else []
    return {"version": version.split()[0], "tls": connection.tls, "schema_revision": rows[0][0] if rows else ""}


def main():
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "default": "", "no_log": True},
            "sslmode": {"type": "str", "choices": ["disable", "prefer", "require", "verify-ca", "verify-full"], "default": "verify-full"},
            "ca_path": {"type": "path"},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    params, connection, failure = module.params, None, ""
    try:
        connection = Connection(params["host"], params["port"], params["timeout"])
        connection.protect(params["sslmode"], params["ca_path"])
        connection.log_in(params["user"], params["database"], params["password"])
        result = look(connection, params)
    except ServerError as exc:
        failure = f"the server says: {exc} ({exc.code})" + (f": {ADVICE[exc.code]}" if exc.code in ADVICE else "")
    except MlopsError as exc:
        failure = str(exc)
    finally:
        if connection:
            connection.close()
    if failure:
        target = f"the database {params['database']} on {params['host']}:{params['port']} cannot be used as {params['user']}"
        module.fail_json(msg=f"From this host, {target}: {failure}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
