#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: sparkflows_server_info
short_description: Health and release of a Sparkflows server, and waiting until it is up
version_added: 1.0.0
description:
  - Asks C(/healthcheck), or C(/actuator/health) where that does not exist, without a login.
  - If a login is given, it is tried as well, and the release is returned. A login that is not accepted is a failure.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.connection
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
options:
  wait_timeout:
    description:
      - Seconds to wait until the server is up. A server takes two to four minutes to start.
      - With V(0) it is asked once. Failures that waiting cannot cure, such as a certificate that is not trusted, end
        the wait at once.
    type: int
    default: 0
  wait_interval:
    description: Seconds between two tries.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Wait for Sparkflows after a restart
  sparkflows.mlops.sparkflows_server_info:
    url: https://sparkflows.example.com:8443
    wait_timeout: 300

- name: Is it there, and is the token good
  sparkflows.mlops.sparkflows_server_info:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
"""

RETURN = r"""
status:
  description: What the server says about its health. Anything but V(UP) is a failure of the module.
  returned: success
  type: str
  sample: UP
health_path:
  description: The path that answered.
  returned: success
  type: str
  sample: /healthcheck
waited_seconds:
  description: How long it took until the server was up.
  returned: success
  type: int
  sample: 0
logged_in:
  description: Whether a login was given and proved good by one of the calls for the release.
  returned: success
  type: bool
  sample: true
version:
  description: The release as far as the server's answer shows one, or null.
  returned: success
  type: str
  sample: 3.3.41
release:
  description: The answer of C(/api/v1/app/release-info) or C(/api/v1/main/about) as it is; its fields are not
    documented. Empty without a login.
  returned: success
  type: raw
  sample: {releaseVersion: 3.3.41, buildNumber: "1"}
"""

import re
import time

from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome, SparkflowsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError, Unreachable

HEALTH_PATHS = ("/healthcheck", "/actuator/health")
RELEASE_PATHS = ("/api/v1/app/release-info", "/api/v1/main/about")


class NotUp(MlopsError):
    """The server answers, but not that it is up."""


def health(http, retries):
    """The path that says UP; an error for anything else."""
    said = []
    for path in HEALTH_PATHS:
        answer = http.send("GET", path, retries=retries)
        data = answer.data()
        status = data.get("status") if isinstance(data, dict) else None
        if status == "UP":
            return path
        what = f"says {status}" if status and answer.status in (200, 503) else f"answered HTTP {answer.status}"
        if answer.is_html:
            what += " with a web page"
        elif answer.status == 200 and not status:
            what += f" {answer.json_problem}"
        said.append(f"{path} {what}")
    raise NotUp(
        f"Sparkflows at {http.url} is not up: {', '.join(said)}. "
        "If it is not starting right now, see its log (fireserver.log), and check url."
    )


def wait_until_up(module, http):
    patience = module.params["wait_timeout"]
    start = time.monotonic()
    while True:
        try:
            # With patience, the loop here does what the retries of the transport would do.
            return health(http, retries=0 if patience else None), int(time.monotonic() - start)
        except (Unreachable, NotUp) as error:
            left = start + patience - time.monotonic()
            if patience and left <= 0:
                raise MlopsError(f"{error} Waited {patience} s for it.") from error
            if not patience or getattr(error, "permanent", False):
                raise
        time.sleep(min(max(module.params["wait_interval"], 1), left))


def find_version(release):
    """The body is not documented: take the first thing that is called version or release and looks like one."""
    fields = release.items() if isinstance(release, dict) else [("version", release)]
    for name, value in sorted(fields, key=lambda field: "release" not in field[0].lower()):
        number = re.search(r"\d+\.\d+(\.\d+)*\S*", str(value))
        if number and re.fullmatch(r"(app|fire|release|build)?_?(version|release|number)", name, re.I):
            return number.group(0)
    return None


def look(module):
    client = module.client
    path, waited = wait_until_up(module, client.http)
    release = None
    if client.has_credentials():
        answers = (client.get_or_none(release_path) for release_path in RELEASE_PATHS)
        release = next((answer for answer in answers if answer is not None), None)
    return Outcome(
        status="UP",
        health_path=path,
        waited_seconds=waited,
        logged_in=release is not None,
        version=find_version(release),
        release={} if release is None else release,
    )


def main():
    module = SparkflowsModule(
        argument_spec=dict(
            wait_timeout=dict(type="int", default=0),
            wait_interval=dict(type="int", default=5),
        ),
    )
    module.run(look)


if __name__ == "__main__":
    main()
