# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the MLflow server, for example V(https://mlflow.example.com).
      - Without it, the environment variable E(MLFLOW_TRACKING_URI) is used.
    type: str
    aliases: [tracking_uri]
  username:
    description:
      - User name, if the server or the proxy in front of it wants a login.
      - Without it, the environment variable E(MLFLOW_TRACKING_USERNAME) is used.
    type: str
  password:
    description:
      - Password of O(username).
      - Without it, the environment variable E(MLFLOW_TRACKING_PASSWORD) is used.
    type: str
  token:
    description:
      - Bearer token, where there is no O(username).
      - Without it, the environment variable E(MLFLOW_TRACKING_TOKEN) is used.
    type: str
  validate_certs:
    description: Whether to verify the TLS certificate of the server. Prefer O(ca_path) to switching this off.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file with the CA certificate of the server, on the host on which the module runs. Then no other CA is
        trusted.
      - Without it, the environment variable E(MLFLOW_TRACKING_SERVER_CERT_PATH) is used, and then what the host trusts.
    type: path
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 30
  retries:
    description:
      - How often a request is sent again when the server answers 429, 502, 503 or 504, with growing pauses and a
        warning each. Requests that change something are never sent again, but for deletions.
    type: int
    default: 3
attributes:
  action_group:
    description: Use C(group/sparkflows.mlops.mlflow) in C(module_defaults) to set the connection options for all
      modules at once.
    support: full
    membership:
      - sparkflows.mlops.mlflow
notes:
  - Made for the REST API of MLflow 1.30. Nothing but this API is used, no MLflow is needed on the host.
  - The environment variables are those of the host on which the module runs. Proxy variables such as E(https_proxy)
    are respected.
  - The module warns if O(url) is plain http, unless the server is on the same host.
"""
