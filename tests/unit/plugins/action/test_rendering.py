# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins that render: what they read on the controller, and hand over to the modules of their names."""

from __future__ import annotations

from unittest import mock

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.sparkflows.mlops.plugins.action import mlops_files, nginx_sites

CANARY = "canary-{{ 7 * 6 }}"


@pytest.fixture(name="full_names", autouse=True)
def fixture_full_names(monkeypatch):
    """Lookups have full names only once Ansible looks for collections, which would hide the one under test."""
    get = lookup_loader.get
    monkeypatch.setattr(lookup_loader, "get", lambda name, **options: get(name.rsplit(".", 1)[1], **options))


@pytest.fixture(name="role")
def fixture_role(tmp_path):
    for name, text in {
        "templates/a.service.j2": "# {{ user }}\n{% if user %}\n[Unit]\n{% endif %}\n{{ model.name | default('-') }}\n",
        "templates/number.j2": "{{ 0x10 }}",
        "templates/part.j2": "the part of {{ whose }} and {{ user }}\n",
        "templates/whole.j2": "{% set whose = 'all' %}\n{% include 'part.j2' %}, and what follows\n",
        "templates/site.conf.j2": "server { listen {{ address }}:{{ port }}; # listen 1\n listen [::1]:8081 ssl; }\n",
        "files/program.py": "print('{{ no template }}')\n\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(name="handed_over")
def fixture_handed_over(role):
    """What the module is given for these options."""

    def run(vault="", plugin=mlops_files, **options):
        loader, variables = DataLoader(), {"user": "mlflow", "ansible_search_path": [str(role)]}
        if vault:
            loader.set_vault_secrets([("default", VaultSecret(vault.encode()))])
        task = mock.MagicMock(args=options, async_val=0, check_mode=False)
        task.get_search_path.return_value = [str(role)]
        action = plugin.ActionModule(task, mock.MagicMock(), mock.MagicMock(), loader, Templar(loader=loader, variables=variables), mock.MagicMock())
        with mock.patch.object(action, "_execute_module") as execute:
            assert action.run(task_vars=variables) is execute.return_value
        assert execute.call_args.args[0] == f"sparkflows.mlops.{plugin.__name__.rsplit('.', 1)[1]}"
        assert execute.call_args.kwargs == {"task_vars": variables}
        return execute.call_args.args[1]

    return run


def test_templates_files_and_contents_in_their_order(handed_over):
    sent = handed_over(files=[
        {"path": "/a", "state": "directory", "mode": "0750"},
        {"path": "/a/a.service", "template": "a.service.j2"},
        {"path": "/a/b.service", "template": "a.service.j2", "variables": {"user": "", "model": {"name": "iris"}}, "group": "mlflow"},
        {"path": "/a/program.py", "source": "program.py"},
        {"path": "/a/c", "content": "c {{ as it is }}\n"},
        {"path": "/a/d", "state": "absent"},
    ])  # fmt: skip
    assert sent == {"secret_contents": {}, "files": [
        {"path": "/a", "state": "directory", "mode": "0750"},
        {"path": "/a/a.service", "content": "# mlflow\n[Unit]\n-\n"},
        {"path": "/a/b.service", "content": "# \niris\n", "group": "mlflow"},
        {"path": "/a/program.py", "content": "print('{{ no template }}')\n\n"},
        {"path": "/a/c", "content": "c {{ as it is }}\n"},
        {"path": "/a/d", "state": "absent"},
    ]}  # fmt: skip


def test_secrets_have_a_place_of_their_own(handed_over):
    """A password may look like a template, and is none."""
    sent = handed_over(secret_contents={"/z": "z"}, files=[
        {"path": "/a", "secret": True, "mode": "0640", "template": "a.service.j2", "variables": {"model": {"name": wrap_var(CANARY)}}},
        {"path": "/b", "secret": True, "content": CANARY},
        {"path": "/c", "secret": True, "source": "program.py"},
        {"path": "/d", "secret": False, "content": "d"},
        {"path": "/z"},
    ])  # fmt: skip
    assert sent["files"] == [{"path": "/a", "mode": "0640"}, {"path": "/b"}, {"path": "/c"}, {"path": "/d", "content": "d"}, {"path": "/z"}]
    assert sent["secret_contents"] == {"/a": f"# mlflow\n[Unit]\n{CANARY}\n", "/b": CANARY, "/c": "print('{{ no template }}')\n\n", "/z": "z"}


def test_templates_of_role_topology_are_for_all_roles(handed_over, role):
    settings = {"template": "spark-defaults.conf.j2", "variables": {"spark_settings": {"spark.ui.enabled": "false"}}}
    assert "spark.ui.enabled" in handed_over(files=[{"path": "/a", **settings}])["files"][0]["content"]
    # The role's own comes first.
    (role / "templates/spark-defaults.conf.j2").write_text("own")
    assert handed_over(files=[{"path": "/a", **settings}])["files"] == [{"path": "/a", "content": "own"}]


def test_a_template_with_a_part(handed_over):
    assert handed_over(files=[{"path": "/a", "template": "whole.j2"}])["files"][0]["content"] == "the part of all and mlflow, and what follows\n"


def test_a_template_may_include_one_of_role_topology(handed_over, role):
    (role / "templates/b.service.j2").write_text("{% set loaded_files = ['/etc/b.env'] %}\n{% include 'loaded.conf.j2' %}\n")
    assert handed_over(files=[{"path": "/b", "template": "b.service.j2"}])["files"][0]["content"].rstrip().endswith("sh /etc/b.env")


def test_a_file_of_a_vault_is_read_in_clear(handed_over, role):
    (role / "files/key.pem").write_bytes(VaultLib([("default", VaultSecret(b"open sesame"))]).encrypt(b"the key\n"))
    sent = handed_over(vault="open sesame", files=[{"path": "/a", "source": str(role / "files/key.pem"), "secret": True}])
    assert sent == {"files": [{"path": "/a"}], "secret_contents": {"/a": "the key\n"}}


@pytest.mark.parametrize(("entry", "words"), [
    ({"path": "/a", "template": "other.j2"}, "/a: there is no other.j2 in templates of .*roles/topology"),
    ({"path": "/a", "source": "a.service.j2"}, "/a: there is no a.service.j2 in files of "),
    ({"path": "/a", "template": "a.service.j2", "content": "c"}, "/a: template and content both say what is in it"),
    ({"path": "/a", "state": "directory", "content": "c"}, "/a: a directory has no content"),
    ({"path": "/a", "source": "program.py", "variables": {}}, "/a: variables are for a template"),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(handed_over, entry, words):
    with pytest.raises(AnsibleError, match=words):
        handed_over(files=[entry])


@pytest.mark.parametrize("files", ["/a", ["/a"], None])
def test_what_is_no_list_of_files_is_for_the_module_to_refuse(handed_over, files):
    assert handed_over(files=files) == {"files": files}
    assert handed_over(plugin=nginx_sites, sites=files) == {"sites": files}


def test_sites_are_rendered(handed_over):
    site = {"name": "a", "template": "site.conf.j2", "variables": {"address": "192.0.2.1", "port": 8080}}
    content = "server { listen 192.0.2.1:8080; # listen 1\n listen [::1]:8081 ssl; }\n"
    sent = handed_over(plugin=nginx_sites, files=[{"path": "/a"}], sites=[
        site, {**site, "ports": ["8081", 8080]}, {"name": "b", "content": "server {}"}, {"name": "c", "state": "absent"}])  # fmt: skip
    assert sent == {"files": [{"path": "/a"}], "sites": [
        {"name": "a", "content": content}, {"name": "a", "content": content},
        {"name": "b", "content": "server {}"}, {"name": "c", "state": "absent"}]}  # fmt: skip


@pytest.mark.parametrize(("ports", "words"), [
    ([8080], "site a listens on 8080, 8081, but its ports say 8080: correct one of them"),
    ([8080, 8081, 1], "but its ports say 8080, 8081, 1"), ([], "but its ports say none"),
])  # fmt: skip
def test_other_ports_than_told_are_refused(handed_over, ports, words):
    """SELinux would keep nginx from them, or would let it have what it does not need."""
    site = {"name": "a", "template": "site.conf.j2", "variables": {"address": "192.0.2.1", "port": 8080}, "ports": ports}
    with pytest.raises(AnsibleError, match=words):
        handed_over(plugin=nginx_sites, sites=[site])
