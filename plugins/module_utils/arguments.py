# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The connection options that every module shares; documented in the doc fragment `connection`."""

from ansible.module_utils.basic import env_fallback


def environment_variable(option):
    return "SPARKFLOWS_" + option.upper()


def connection_spec():
    spec = dict(
        url=dict(type="str"),
        auth_method=dict(type="str", choices=["token", "oauth2", "session"], default="token"),
        token=dict(type="str", no_log=True),
        username=dict(type="str"),
        password=dict(type="str", no_log=True),
        oauth_client_id=dict(type="str", default="sparkflows"),
        # No default here: Ansible would then mask the vendor's published word "secret" wherever it stands in a result.
        oauth_client_secret=dict(type="str", no_log=True),
        validate_certs=dict(type="bool", default=True),
        ca_path=dict(type="path"),
        use_proxy=dict(type="bool", default=True),
        timeout=dict(type="int", default=30),
        retries=dict(type="int", default=3),
    )
    for name, option in spec.items():
        option["fallback"] = (env_fallback, [environment_variable(name)])
    return spec
