"""The sites that are rehearsed: the plain one, and others that differ from it in a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field

ALL, VAULT, MLFLOW = "group_vars/all/main.yml", "group_vars/all/vault.yml", "group_vars/mlflow/main.yml"
# What is given for a variable that stands in the example behind a comment sign: that line as it is, without the sign.
AS_IT_STANDS = object()


@dataclass(frozen=True)
class Site:
    name: str
    # The generation of Ansible, as the series of ansible-core.
    core: str = "2.19"
    # What is written into the copied inventory besides what every site has to: file -> {variable: value}. The value is YAML. A $name in it is the
    # address of the host of that name, or what the lab's inventory has for the variable of that name.
    settings: dict = field(default_factory=dict)
    # Whether the packages come out of the folder that outlives the lab's machines, which is quick.
    package_cache: bool = True
    # ansible.cfg of the folder in which the administrator works: {section: {setting: value}}.
    config: dict = field(default_factory=dict)
    # What is done to each machine beforehand, as root in a shell.
    machine: str = ""
    # The folder in which the administrator works.
    folder: str = "site"
    # More inventories of the lab, and variables for it.
    layers: tuple = ()
    lab: dict = field(default_factory=dict)
    # Hosts call each other by IPv6 alone.
    ipv6: bool = False
    # Controller and hosts have an HTTP proxy in their environment, and nothing says whom to ask without it.
    http_proxy: bool = False


NO_FIREWALL = "systemctl disable --now firewalld"

SITES = [
    Site("plain"),
    Site(
        "odd",
        folder="a site with blanks",
        package_cache=False,
        config={"defaults": {"gathering": "smart", "fact_caching": "jsonfile", "fact_caching_connection": "facts"}},
        settings={
            "hosts.yml": {"ansible_pipelining": False},
            ALL: {"mlops_home": "/srv/model-serving", "mlops_data_dir": "/data/mlflow", "mlops_tmp_dir": "/srv/model-serving/tmp"},
            MLFLOW: {"mlflow_runtime_installer": "pip", "serving_firewall_backend": "nftables", "serving_firewall_install": True},
        },
        machine=f"""
            {NO_FIREWALL}
            ln -sf /usr/share/zoneinfo/Pacific/Chatham /etc/localtime
            echo 'Defaults umask=0077, umask_override' >/etc/sudoers.d/umask
            mount -o remount,noexec /tmp
            umount /etc/hosts && echo '127.0.0.1 localhost' >/etc/hosts
            printf 'LANG=C\\nLC_ALL=C\\n' >>/etc/environment
        """,
    ),
    Site(
        "oldest",
        core="2.16",
        settings={
            ALL: {
                "mlops_mlflow_proxy": False,
                "mlops_mlflow_bind_address": "$mlflow1",
                "mlops_mlflow_username": "",
                "mlops_mlflow_password": "",
            },
            MLFLOW: {"serving_firewall_backend": "ufw", "serving_firewall_install": True},
        },
        machine=NO_FIREWALL,
    ),
    Site(
        "newest",
        core="2.21",
        layers=("inventories/stores",),
        lab={"lab_sparkflows_shell": "/bin/bash"},
        settings={
            ALL: {
                "mlops_deploy_mode": "remote",
                "mlops_ssh_sparkflows_user": "sparkflows",
                "mlops_ssh_mlflow_user": "sparkflows",
                "mlops_database_host": "store1",
                "mlops_database_password": AS_IT_STANDS,
                "mlops_database_ca_path": "/etc/ssl/lab-ca.pem",
                "mlops_s3_endpoint_url": "https://store1:8443",
                "mlops_s3_bucket": "$mlops_s3_bucket",
                "mlops_s3_ca_path": "/etc/ssl/lab-ca.pem",
                "mlops_s3_addressing_style": "path",
            },
            VAULT: {
                "vault_database_password": "$mlops_database_password",
                "vault_s3_access_key": "$mlops_s3_access_key",
                "vault_s3_secret_key": "$mlops_s3_secret_key",
            },
            MLFLOW: {"serving_firewall_backend": "none"},
        },
        machine=NO_FIREWALL,
    ),
    Site("far", core="2.20", ipv6=True, http_proxy=True),
]
