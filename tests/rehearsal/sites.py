"""The sites that are rehearsed: the plain one, and others that differ from it in a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field

ALL, MLFLOW = "group_vars/all/main.yml", "group_vars/mlflow/main.yml"


@dataclass(frozen=True)
class Site:
    name: str
    # The generation of Ansible, as the series of ansible-core.
    core: str = "2.19"
    # What is written into the copied inventory besides what every site has to: file -> {variable: value}. The value is YAML.
    settings: dict = field(default_factory=dict)
    # What installs the packages on the MLflow host: uv is quick, pip is the default.
    packages: str = "uv"
    # ansible.cfg of the folder in which the administrator works: {section: {setting: value}}.
    config: dict = field(default_factory=dict)
    # What is done to each machine beforehand, as root in a shell.
    machine: str = ""
    # The folder in which the administrator works.
    folder: str = "site"


SITES = [
    Site("plain"),
    Site(
        "odd",
        folder="a site with blanks",
        packages="pip",
        config={"defaults": {"gathering": "smart", "fact_caching": "jsonfile", "fact_caching_connection": "facts"}},
        settings={
            "hosts.yml": {"ansible_pipelining": False},
            ALL: {"mlops_home": "/srv/model-serving", "mlops_data_dir": "/data/mlflow"},
            MLFLOW: {"serving_firewall_backend": "nftables"},
        },
        machine="""
            ln -sf /usr/share/zoneinfo/Pacific/Chatham /etc/localtime
            echo 'Defaults umask=0077, umask_override' >/etc/sudoers.d/umask
            mount -o remount,noexec /tmp
            umount /etc/hosts && echo '127.0.0.1 localhost' >/etc/hosts
            printf 'LANG=C\\nLC_ALL=C\\n' >>/etc/environment
        """,
    ),
]
