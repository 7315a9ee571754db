# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the collection. Each has its page beside this file, and its code in plugins/plugin_utils, in the file of its subject.

Whoever asks for one filter of a collection makes Ansible load all files of this folder, anew in the process of each task. So there is only one, and
what it names is loaded when it is called.
"""

from __future__ import annotations

from importlib import import_module

# Subject: its filters, functions of the same name.
FILTERS = {
    "acceptance_plan": ("acceptance_plan", "acceptance_ports", "acceptance_problems", "acceptance_program_answers", "acceptance_ssh_peers"),
    "acceptance_report": ("acceptance_failure", "acceptance_report"),
    "acceptance_samples": ("acceptance_endpoints", "acceptance_sample_files", "acceptance_sample_questions"),
    "addresses": ("addresses",),
    "amount_of_files": ("amount_of_files",),
    "apt_sources": ("apt_source_files", "apt_source_keys"),
    "awx": ("awx_kinds", "awx_plan", "awx_problems", "credential_inputs", "credential_results", "project_has_ended", "project_problems"),
    "backup": ("backup_message", "backup_problems", "backup_program_files"),
    "batch_scoring": (
        "batch_scoring_failures",
        "batch_scoring_model",
        "batch_scoring_model_problems",
        "batch_scoring_plan",
        "batch_scoring_problems",
        "batch_scoring_runtime",
        "batch_scoring_secrets",
    ),
    "controller_files": ("controller_artifact", "controller_file_problems", "controller_path"),
    "database_drivers": ("database_driver_problems",),
    "htpasswd": ("htpasswd", "password_problems"),
    "listen_ports": ("listen_ports",),
    "mlflow_proxy": ("mlflow_proxy_problems", "mlflow_proxy_users_mark", "mlflow_proxy_writers"),
    "mlflow_runtime": ("mlflow_runtime_options", "mlflow_runtime_problems", "mlflow_runtime_turn"),
    "mlflow_server": ("mlflow_server_problems", "mlflow_server_variables"),
    "model_serving": (
        "model_serving_plan",
        "model_serving_problems",
        "outdated_models",
        "served_model_files",
        "served_model_gone_files",
        "served_model_request",
        "served_model_sites",
        "served_model_urls",
    ),
    "networks": ("networks", "network_problems"),
    "nginx": (
        "nginx_before",
        "nginx_certificate_is_good",
        "nginx_certificate_names",
        "nginx_certificate_problems",
        "nginx_file_problems",
        "nginx_files",
        "nginx_state",
    ),
    "no_proxy": ("no_proxy",),
    "offline_scoring": ("score_offline_message", "score_offline_problems", "score_offline_summary", "workflow_failures"),
    "restore": ("restore_announcement", "restore_hosts", "restore_message", "restore_outcome", "restore_problems"),
    "runtimes": ("java_runtime_packages", "java_runtime_problems", "python_runtime_packages", "python_runtime_problems"),
    "sandbox": ("account_problems", "sandbox_certificates", "sandbox_certificate_problems", "unit_path_problems"),
    "scorer": (
        "scorer_engine_packages",
        "scorer_failures",
        "scorer_image",
        "scorer_image_names",
        "scorer_model_problem",
        "scorer_problems",
        "scorer_pull_problem",
        "scorer_round",
    ),
    "served_models": ("served_models",),
    "serving_firewall": ("serving_firewall_left", "serving_firewall_plan", "serving_firewall_problems", "serving_firewall_state"),
    "setting_problems": ("setting_problems",),
    "site": ("site_artifacts", "site_database", "site_spark", "site_ssh"),
    "spark_cluster": ("spark_cluster_plan", "spark_cluster_problems"),
    "sparkflows_configuration": (
        "sparkflows_configuration_hint",
        "sparkflows_configuration_problems",
        "sparkflows_settings_plan",
        "sparkflows_settings_variables",
    ),
    "ssh_access": ("ssh_access_end", "ssh_access_packages", "ssh_access_plan", "ssh_access_problems", "ssh_login_problems"),
    "store_move": (
        "live_stores_problems",
        "store_move_announcement",
        "store_move_message",
        "store_move_outcome",
        "store_move_problems",
        "store_move_rehearsed",
    ),
    "strangers": ("strangers",),
    "systemd_versions": ("known_to_systemd", "unknown_to_systemd"),
    "topology": ("controller_problems", "topology_problems"),
    "uninstall": ("uninstall_plan", "uninstall_problems", "uninstall_question", "uninstall_summary"),
    "upgrade": (
        "rollback_announcement",
        "rollback_message",
        "rollback_plan",
        "rollback_problems",
        "upgrade_announcement",
        "upgrade_leader",
        "upgrade_left_behind",
        "upgrade_links",
        "upgrade_message",
        "upgrade_outcome",
        "upgrade_problems",
        "upgrade_rehearsed",
        "upgrade_wanted_problems",
    ),
    "url_host": ("url_host",),
}


def filter_of(subject, name):
    def call(*arguments, **options):
        module = import_module(f"ansible_collections.sparkflows.mlops.plugins.plugin_utils.{subject}")
        return getattr(module, name)(*arguments, **options)

    return call


class FilterModule:
    """Filters of the collection."""

    def filters(self):
        return {name: filter_of(subject, name) for subject, names in FILTERS.items() for name in names}
