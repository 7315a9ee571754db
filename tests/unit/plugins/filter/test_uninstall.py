# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes from a host and what stays: on hosts as they are, and on hosts that nobody has thought of."""

from __future__ import annotations

import os.path

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.uninstall import (
    PROTECTED,
    below,
    uninstall_plan,
    uninstall_problems,
    uninstall_question,
    uninstall_summary,
)
from hypothesis import given
from hypothesis import strategies as st

ACCOUNT = {"user": "mlflow", "group": "mlflow", "comment": "MLflow", "home": "/var/lib/mlflow"}
MADE = [
    {
        "units": ["mlflow.service", "mlflow-model@*.service"],
        "links": ["/opt/mlflow/current"],
        "files": ["/opt/mlflow/releases", "/etc/mlflow/mlflow.env", "/var/lib/mlflow/models",
                  "/etc/systemd/system/mlflow-model@*.service"],
        "folders": ["/opt/mlflow", "/etc/mlflow", "/var/lib/mlflow"],
        "data": [
            {"path": "/var/lib/mlflow/db", "what": "MLflow's database", "account": "mlflow"},
            {"path": "/var/lib/mlflow/*", "what": "what somebody has put there", "account": "mlflow"},
        ],
        "accounts": [ACCOUNT],
        "named_by_units": [{"unit": "mlflow.service", "name": "mlops_home", "path": "/opt/mlflow"}],
    },
    {"apt_sources": [{"name": "Unstable_JDK 8"}], "elsewhere": ["the artifacts in s3://bucket/mlflow"]},
]  # fmt: skip
ACCOUNTS = {
    "root": {"group": "root", "comment": "root", "home": "/root"},
    "daemon": {"group": "daemon", "comment": "daemon", "home": "/usr/sbin"},
    "dana": {"group": "dana", "comment": "Dana", "home": "/home/dana"},
    "nobody": {"group": "nogroup", "comment": "nobody", "home": "/"},
    "mlflow": {"group": "mlflow", "comment": "MLflow", "home": "/var/lib/mlflow"},
}
FILES = ["/opt/mlflow/releases/guide-1.30-1/bin/python", "/etc/mlflow/mlflow.env", "/var/lib/mlflow/models/churn/model",
         "/var/lib/mlflow/db/mlflow.db"]  # fmt: skip


def host(*files, links=None, mounts=("/",), units=()):
    """What the module would find of a host that has these files."""
    links = links or {}
    folders = {"/": set()}
    for path in [*files, *links]:
        while path != "/":
            folders.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
            path = os.path.dirname(path)

    def described(path):
        kind = "link" if path in links else "directory" if path in folders else "file"
        return {"kind": kind, "entries": sorted(folders.get(path, ())), "leads_to": links.get(path, "")}

    every = [*(path for path in folders if path != "/"), *files, *links]
    return {"paths": {path: described(path) for path in every}, "mounts": list(mounts),
            "units": {name: {"active": active, "enabled": active == "active", "text": text} for name, active, text in units}}  # fmt: skip


def plan(found, made=MADE, accounts=None, remove_data=False):
    return uninstall_plan(made, found, ACCOUNTS if accounts is None else accounts, remove_data)


def goes(decided):
    return [file["path"] for file in decided["files"]]


def test_an_empty_host_has_nothing_to_go():
    decided = plan(host("/etc/passwd"), accounts={"root": ACCOUNTS["root"]})
    assert (goes(decided), decided["units"], decided["users"], decided["problems"]) == ([], [], [], [])
    assert "nothing of this collection" in uninstall_summary(decided, "mlflow1")[0]


def test_data_stay_with_the_account_that_they_belong_to():
    decided = plan(host(*FILES, "/var/lib/mlflow/notes.txt"))
    assert goes(decided) == ["/var/lib/mlflow/models", "/etc/mlflow", "/opt/mlflow"]
    assert decided["users"] == decided["groups"] == []
    assert decided["kept"] == [
        "/var/lib/mlflow/db (MLflow's database)",
        "/var/lib/mlflow/notes.txt (what somebody has put there)",
        "account mlflow (what is kept belongs to it)",
        "the artifacts in s3://bucket/mlflow (not on this host)",
    ]


def test_data_go_when_they_are_said_to_go():
    decided = plan(host(*FILES, "/var/lib/mlflow/notes.txt"), remove_data=True)
    assert goes(decided) == ["/var/lib/mlflow", "/etc/mlflow", "/opt/mlflow"]
    assert (decided["users"], decided["groups"]) == (["mlflow"], ["mlflow"])
    assert decided["kept"] == ["the artifacts in s3://bucket/mlflow (not on this host)"]
    assert any("with it data: " in line for line in uninstall_summary(decided, "mlflow1"))


def test_a_folder_in_which_there_is_something_of_others_stays_and_is_named():
    decided = plan(host(*FILES, "/opt/mlflow/ours-not", "/etc/mlflow/company-ca.pem"), remove_data=True)
    assert goes(decided)[:2] == ["/etc/mlflow/mlflow.env", "/opt/mlflow/releases"]
    named = {f"{path} (it is not of this collection)" for path in ("/etc/mlflow/company-ca.pem", "/opt/mlflow/ours-not")}
    assert named <= set(decided["kept"])


def test_an_empty_data_folder_is_no_data():
    found = host("/etc/mlflow/mlflow.env")
    found["paths"]["/var/lib/mlflow"] = {"kind": "directory", "entries": ["db"], "leads_to": ""}
    found["paths"]["/var/lib/mlflow/db"] = {"kind": "directory", "entries": [], "leads_to": ""}
    assert "/var/lib/mlflow" in goes(plan(found)) and plan(found)["users"] == ["mlflow"]


def test_of_a_link_only_the_link_goes():
    found = host("/etc/mlflow/mlflow.env", "/data/db/mlflow.db", links={"/var/lib/mlflow/db": "/data/db"})
    decided = plan(found, remove_data=True)
    assert not [path for path in goes(decided) if path.startswith("/data")]
    assert "/data/db (/var/lib/mlflow/db was a link to it: only the link goes)" in decided["kept"]


def test_the_folder_that_is_a_link_is_emptied_of_what_is_ours():
    found = host("/data/mlflow/releases/x", "/data/mlflow/other", links={"/opt/mlflow": "/data/mlflow"})
    found["paths"]["/opt/mlflow"]["entries"] = ["releases"]
    found["paths"]["/opt/mlflow/releases"] = {"kind": "directory", "entries": ["x"], "leads_to": ""}
    decided = plan(found)
    assert goes(decided) == ["/opt/mlflow/releases", "/opt/mlflow"]
    assert "/data/mlflow (/opt/mlflow was a link to it)" in decided["kept"]


def test_what_is_to_be_a_link_goes_only_if_it_is_one():
    assert "/opt/mlflow" in goes(plan(host(*FILES, links={"/opt/mlflow/current": "/opt/mlflow/releases/guide-1.30-1"})))
    decided = plan(host(*FILES, "/opt/mlflow/current/bin/java"))
    assert "/opt/mlflow/releases" in goes(decided) and not [path for path in goes(decided) if below("/opt/mlflow/current", path)]
    assert "/opt/mlflow/current" not in goes(decided) and "/opt/mlflow/current (it is not a link, as this collection makes it)" in decided["kept"]


def test_a_mount_point_is_emptied_and_stays():
    decided = plan(host(*FILES, mounts=["/", "/var/lib/mlflow"]), remove_data=True)
    assert {"/var/lib/mlflow/db", "/var/lib/mlflow/models"} <= set(goes(decided)) and "/var/lib/mlflow" not in goes(decided)
    assert any(one.startswith("/var/lib/mlflow (it is a mount point") for one in decided["kept"])


def test_what_has_something_mounted_in_it_stays():
    decided = plan(host(*FILES, mounts=["/", "/opt/mlflow/releases/guide-1.30-1"]))
    assert "/opt/mlflow/releases (/opt/mlflow/releases/guide-1.30-1 is mounted in it)" in decided["kept"]
    assert not [path for path in goes(decided) if path.startswith("/opt/mlflow/releases") or path == "/opt/mlflow"]


@pytest.mark.parametrize(("path", "why"), [
    ("/home/dana", "the home of the account dana"), ("/srv", "a folder of the system"), ("/home", "a folder of the system"),
    ("/var/lib", "a folder of the system"), ("/home/../home/dana", "not a plain absolute path"),
])  # fmt: skip
def test_no_folder_of_the_system_and_nobodys_home_goes(path, why):
    made = [{"data": [{"path": path, "what": "MLflow's artifacts", "account": "mlflow"}]}]
    found = {"paths": {path: {"kind": "directory", "entries": ["x"], "leads_to": ""}}, "mounts": ["/"], "units": {}}
    assert plan(found, made)["problems"] == []
    decided = plan(found, made, remove_data=True)
    assert goes(decided) == [] and len(decided["problems"]) == 1 and why in decided["problems"][0] and path in decided["problems"][0]


@pytest.mark.parametrize("difference", [{"comment": "Mia Flow"}, {"home": "/home/mlflow"}])
def test_an_account_that_is_not_as_we_make_it_stays(difference):
    decided = plan(host("/etc/mlflow/mlflow.env"), accounts={"mlflow": {**ACCOUNTS["mlflow"], **difference}})
    assert decided["users"] == [] and "account mlflow (it is not as this collection makes it)" in decided["kept"]


def test_a_group_that_others_have_stays():
    accounts = {**ACCOUNTS, "dana": {**ACCOUNTS["dana"], "group": "mlflow"}}
    decided = plan(host("/etc/mlflow/mlflow.env"), accounts=accounts)
    assert (decided["users"], decided["groups"]) == (["mlflow"], [])


def test_units_that_run_or_start_are_stopped():
    units = [("mlflow.service", "active", "/opt/mlflow/x"), ("mlflow-model@churn@2.service", "failed", "x"),
             ("spark-worker.service", "inactive", "x"), ("mlflow-batch-scoring-7.service", "active", ""),
             ("mlflow-batch-scoring-6.service", "failed", ""), ("mlflow-backup.timer", "active", "x")]  # fmt: skip
    decided = plan(host(*FILES, units=units))
    # What starts others comes first.
    assert decided["units"] == ["mlflow-backup.timer", "mlflow.service", "mlflow-model@churn@2.service", "mlflow-batch-scoring-7.service"]
    assert decided["transient"] == ["mlflow-batch-scoring-7.service"]


def test_a_host_that_was_set_up_with_other_folders_is_refused():
    decided = plan(host(*FILES, units=[("mlflow.service", "active", "ExecStart=/srv/mlflow/current/bin/mlflow server")]))
    assert len(decided["problems"]) == 1 and "Set mlops_home" in decided["problems"][0]


def test_package_sources_are_named_as_apts_module_names_them():
    paths = uninstall_question(MADE)["paths"]
    assert "/etc/apt/sources.list.d/unstable-jdk-8.sources" in paths and "/etc/apt/keyrings/unstable-jdk-8.gpg" in paths


@pytest.mark.parametrize(("hosts", "confirmed", "check_mode", "refused"), [
    (["mlflow1", "sparkflows1"], False, False, True),
    (["mlflow1", "sparkflows1", "store1"], False, False, True),
    (["mlflow1", "sparkflows1"], True, False, False),
    (["mlflow1", "sparkflows1"], False, True, False),
    (["mlflow1"], False, False, False),
    (["former1"], False, False, False),
])  # fmt: skip
def test_the_whole_site_is_confirmed(hosts, confirmed, check_mode, refused):
    settings = {"site": ["mlflow1", "sparkflows1"], "hosts": hosts, "confirmed": confirmed, "check_mode": check_mode}
    problems = list(uninstall_problems(settings))
    assert bool(problems) is refused and all("uninstall_confirm" in problem and "--limit" in problem for problem in problems)
    assert not list(uninstall_problems({**settings, "site": []}))


NAMES = st.sampled_from(["a", "b", "db", "releases", "models", "x.env"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PLACES = st.sampled_from(["/opt/mlflow", "/var/lib/mlflow", "/etc/mlflow", "/home/dana", "/srv", "/opt", "/var/lib"])


@given(
    files=st.lists(st.tuples(PLACES, PATHS).map("/".join), max_size=12, unique=True),
    ours=st.lists(st.tuples(PLACES, PATHS).map("/".join), max_size=6),
    folders=st.lists(PLACES, max_size=4),
    data=st.lists(st.tuples(PLACES, NAMES).map("/".join), max_size=3),
    mounts=st.lists(st.tuples(PLACES, NAMES).map("/".join), max_size=2),
    remove_data=st.booleans(),
)
def test_nothing_goes_that_nobody_named(files, ours, folders, data, mounts, remove_data):
    files = [file for file in files if not any(below(other, file) for other in files)]
    made = [{"files": ours, "folders": folders, "data": [{"path": path, "what": "data", "account": "mlflow"} for path in data]}]
    found = host(*files, mounts=mounts)
    decided = plan(found, made, remove_data=remove_data)
    gone = goes(decided)
    named = [*ours, *(data if remove_data else [])]
    for file in files:
        if any(file == path or below(file, path) for path in gone):
            assert any(file == one or below(file, one) for one in named), (file, gone)
            assert not any(below(mount, path) for path in gone if below(file, path) for mount in mounts)
    assert not set(gone) & (PROTECTED | {"/home/dana"})
    assert not [path for path in gone if below("/home/dana", path)]
    assert len(gone) == len(set(gone))
