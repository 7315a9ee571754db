# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  url:
    description:
      - Address of the Sparkflows server, for example V(https://sparkflows.example.com:8443).
      - Without it, the environment variable E(SPARKFLOWS_URL) is used.
    type: str
  auth_method:
    description:
      - How to log in. The environment variable E(SPARKFLOWS_AUTH_METHOD) sets another default.
      - V(token) sends the access token O(token). The server takes tokens only with C(fire.cors.enable=true) and
        C(fire.security.csrf.enable=false) in C(conf/application.properties).
      - V(oauth2) gets a token from C(/oauth/token) with O(username) and O(password). Since release 3.3.11 a user has
        one such login at a time, so use an account that nobody works with.
      - V(session) logs in as a browser does, with a form and cookies, and sends the CSRF token where the server wants
        one.
    type: str
    choices: [token, oauth2, session]
    default: token
  token:
    description:
      - Access token, for O(auth_method=token).
      - Without it, the environment variable E(SPARKFLOWS_TOKEN) is used.
    type: str
  username:
    description:
      - User name, for O(auth_method=oauth2) and O(auth_method=session).
      - Without it, the environment variable E(SPARKFLOWS_USERNAME) is used.
    type: str
  password:
    description:
      - Password of O(username).
      - Without it, the environment variable E(SPARKFLOWS_PASSWORD) is used.
    type: str
  oauth_client_id:
    description:
      - Client name for O(auth_method=oauth2). The default is the one that the vendor publishes.
      - The environment variable E(SPARKFLOWS_OAUTH_CLIENT_ID) sets another default.
    type: str
    default: sparkflows
  oauth_client_secret:
    description:
      - Client secret for O(auth_method=oauth2).
      - Without it, the environment variable E(SPARKFLOWS_OAUTH_CLIENT_SECRET) is used, and then V(secret), which the
        vendor publishes.
    type: str
  validate_certs:
    description:
      - Whether to verify the TLS certificate of the server. Prefer O(ca_path) to switching this off.
      - The environment variable E(SPARKFLOWS_VALIDATE_CERTS) sets another default.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file with the CA certificate of the server, on the host on which the module runs. Then no other CA is
        trusted.
      - Without it, the environment variable E(SPARKFLOWS_CA_PATH) is used, and then what the host trusts.
    type: path
  use_proxy:
    description:
      - Whether proxy variables such as E(https_proxy) are respected. A server on the same host is never asked through a
        proxy.
      - The environment variable E(SPARKFLOWS_USE_PROXY) sets another default.
    type: bool
    default: true
  timeout:
    description:
      - Seconds to wait for each answer. The environment variable E(SPARKFLOWS_TIMEOUT) sets another default.
    type: int
    default: 30
  retries:
    description:
      - How often a request is sent again when the server answers 429, 502, 503 or 504, with growing pauses and a
        warning each.
      - Requests that change something are never sent again.
      - The environment variable E(SPARKFLOWS_RETRIES) sets another default.
    type: int
    default: 3
attributes:
  action_group:
    description: Use C(group/sparkflows.mlops.sparkflows) in C(module_defaults) to set the connection options for all
      modules at once.
    support: full
    membership:
      - sparkflows.mlops.sparkflows
notes:
  - Redirects are not followed. A redirect, or a web page instead of data, counts as a login that was not accepted.
  - The environment variables are those of the host on which the module runs.
  - The module warns if O(url) is plain http, unless the server is on the same host.
"""
