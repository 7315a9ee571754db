# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as some

FILTERS = FilterModule().filters()
DIGEST = "sha256:" + "0a" * 32
GOOD = f"registry.example:5000/sparkflows/scorer:py_3.2.1_3.3.42@{DIGEST}"
SETTINGS = {
    "scorer_command": ["--model", "{model}", "{input}", "{output}", "--{extra_columns}"],
    "scorer_cpus": 2,
    "scorer_engine_install": False,
    "scorer_engine_packages": [],
    "scorer_extra_columns": "refuse",
    "scorer_image_path": "",
    "scorer_image_sha256": "",
    "scorer_image_url": "",
    "scorer_images": {"3.3.42": GOOD},
    "scorer_input_mount": "/input",
    "scorer_memory": "4g",
    "scorer_model_mount": "/model",
    "scorer_output_mount": "/output",
    "scorer_parallelism": 2,
    "scorer_registry_ca_path": "",
    "scorer_registry_password": "",
    "scorer_registry_username": "",
    "scorer_release": "3.3.42",
    "scorer_tag_pattern": "^py_[0-9.]+_{release}(-rc[0-9]+)?$",
    "scorer_timeout": 3600,
    "scorer_user": "10001:10001",
    "scorer_work_dir": "/var/lib/scorer",
}
ENGINE, DEBIAN = {"can_talk_to_docker": True}, {"id": "debian", "version": "13", "id_like": []}


def problems(engine=ENGINE, **settings):
    return FILTERS["scorer_problems"]({**SETTINGS, **settings}, engine, DEBIAN)


# ---- packages
@pytest.mark.parametrize(("name", "version", "like", "packages"), [
    ("debian", "12", [], "docker.io python3-requests"), ("debian", "13", [], "docker.io python3-requests docker-cli"),
    ("debian", "9.13", [], "docker.io python3-requests"), ("debian", "", [], "docker.io python3-requests docker-cli"),
    ("ubuntu", "24.04", ["debian"], "docker.io python3-requests"), ("rocky", "9.4", ["rhel", "fedora"], ""), ("opensuse-leap", "15.6", [], ""),
])  # fmt: skip
def test_packages_of_an_engine(name, version, like, packages):
    assert FILTERS["scorer_engine_packages"]({"id": name, "version": version, "id_like": like}) == packages.split()


# ---- the image
@pytest.mark.parametrize(("reference", "name", "tag", "digest", "registry"), [
    (GOOD, "registry.example:5000/sparkflows/scorer", "py_3.2.1_3.3.42", DIGEST, "registry.example:5000"),
    ("sparkflows/scorer:1", "sparkflows/scorer", "1", "", ""), ("localhost/scorer", "localhost/scorer", "", "", "localhost"),
    ("registry:5000/scorer@sha256:1", "registry:5000/scorer", "", "sha256:1", "registry:5000"), ("scorer:1@x", "scorer", "1", "x", ""),
    ("", "", "", "", ""),
])  # fmt: skip
def test_a_reference_is_taken_apart(reference, name, tag, digest, registry):
    image = FILTERS["scorer_image"]({**SETTINGS, "scorer_images": {"3.3.42": reference}})
    assert image == {"reference": reference, "name": name, "tag": tag, "digest": digest, "registry": registry, "from_archive": False,
                     "spark": "3.2.1" if tag == "py_3.2.1_3.3.42" else "", "pinned": f"{name}@{digest}"}  # fmt: skip


def test_an_archive_gives_the_image_a_name_of_its_own():
    image = FILTERS["scorer_image"]({**SETTINGS, "scorer_image_url": "https://x/i.tar", "scorer_image_sha256": "ABCDEF0123456789"})
    assert image["from_archive"] is True and image["pinned"] == "registry.example:5000/sparkflows/scorer:archive-abcdef012345"


WORD = some.text("abcz019_.-", min_size=1, max_size=9)


@given(some.lists(WORD, min_size=1, max_size=3), some.one_of(some.none(), some.integers(1, 65535)), WORD, some.text("0af", min_size=64, max_size=64))
def test_a_reference_is_taken_apart_and_put_together_again(path, port, tag, digest):
    name = "/".join([f"registry.example{f':{port}' if port else ''}", *path])
    image = FILTERS["scorer_image"]({**SETTINGS, "scorer_images": {"3.3.42": f"{name}:{tag}@sha256:{digest}"}})
    assert f"{image['name']}:{image['tag']}@{image['digest']}" == image["reference"]
    assert image["registry"] == name.split("/")[0] and image["pinned"] == f"{name}@sha256:{digest}"
    assert not problems(scorer_images={"3.3.42": image["reference"]}, scorer_tag_pattern="")


# ---- the model
@pytest.mark.parametrize(("made", "has", "fits"), [
    ("3.2.1", "3.2.1", True), ("3.1.3", "3.2.1", True), ("3.2.4", "3.2.1", True), ("3.5.8", "3.2.1", False), ("2.4.8", "3.2.1", False),
    ("3.5.8", "3.5.2", True), ("", "3.2.1", True), ("3.5.8", "", True),
])  # fmt: skip
def test_a_model_that_the_image_does_not_load(made, has, fits):
    problem = FILTERS["scorer_model_problem"]("/srv/churn", made, has, GOOD)
    assert (problem == "") == fits
    if not fits:
        assert problem.startswith(f"the model /srv/churn was made with Spark {made}, and the scorer image {GOOD} has Spark {has} (scorer_")
        assert "Set scorer_release to" in problem and "score_offline_method=registered_model" in problem


# ---- problems
def test_good_settings():
    assert problems() == []
    assert problems(scorer_parallelism="64", scorer_timeout="60", scorer_cpus="1.5", scorer_memory=1024, scorer_release=3, scorer_tag_pattern="",
                    scorer_images={"3": GOOD}) == []  # fmt: skip
    assert problems(scorer_image_path="/i.tar", scorer_image_sha256="a", scorer_images={"3.3.42": GOOD.split("@")[0]}) == []


def test_what_is_wrong_with_the_archive():
    engine, wrong = {"can_talk_to_docker": True}, {"problems": ["the image is not there."]}
    settings = {**SETTINGS, "scorer_image_path": "/i.tar", "scorer_image_sha256": "a"}
    assert FILTERS["scorer_problems"](settings, engine, {"id": "debian"}, wrong) == ["the image is not there."]
    # Which the missing digest already says.
    assert len(FILTERS["scorer_problems"]({**settings, "scorer_image_sha256": ""}, engine, {"id": "debian"}, wrong)) == 1


NO_ENGINE = (
    "No Docker engine answers ({}). Start it, or set scorer_engine_install to true to install the engine of the distribution and what is needed "
    "to talk to it."
)
ASK = "ask Sparkflows for the image of your release and add it, or correct scorer_release."


@pytest.mark.parametrize(("settings", "problem"), [
    ({"scorer_release": ""}, "scorer_release is empty: set it to the release of your Sparkflows server, a key of scorer_images."),
    ({"scorer_release": 9, "scorer_images": {"b": GOOD, 7: GOOD, "A": GOOD}},
     f"scorer_images has no image for release 9, it has 7, A, b: {ASK}"),
    ({"scorer_images": {}}, f"scorer_images has no image for release 3.3.42, it has no release: {ASK}"),
    *(({"scorer_images": {"3.3.42": reference}},
       f"scorer_images[3.3.42] is {reference}: set it to <registry>/<name>:<tag>@sha256:<64 hexadecimal digits>.")
      for reference in (GOOD[:-1], GOOD + "0", GOOD.split("@")[0], f"r.example:5000/scorer@{DIGEST}", GOOD.replace("sha256", "md5"))),
    ({"scorer_images": {"3.3.42": GOOD.replace("3.3.42", "3x3.42")}},
     "The tag py_3.2.1_3x3.42 in scorer_images[3.3.42] is not one of release 3.3.42: correct it, or scorer_tag_pattern if the vendor names tags in "
     "another way."),
    ({"scorer_image_path": "/i.tar"}, "scorer_image_sha256 is empty: set it to the SHA-256 of the archive in scorer_image_path or scorer_image_url."),
    ({"scorer_registry_username": "ada"}, "scorer_registry_password is empty: set it to the password of ada at the registry."),
    ({"scorer_registry_ca_path": "/nowhere.pem"}, "scorer_registry_ca_path is /nowhere.pem, which is no file on the controller: correct it."),
    ({"scorer_engine_install": True}, "Nothing says what to install for a Docker engine on debian: set scorer_engine_packages."),
    ({"engine": {"can_talk_to_docker": False, "msg": "no socket"}}, NO_ENGINE.format("no socket")),
    ({"engine": {"msg": "word " * 80}}, NO_ENGINE.format(("word " * 59)[:-1] + "...")), ({"engine": {}}, NO_ENGINE.format("no answer")),
    ({"engine": {"msg": "x" * 305}}, NO_ENGINE.format("x" * 305)), ({"engine": {"msg": "x" * 306}}, NO_ENGINE.format("x" * 297 + "...")),
    ({"scorer_parallelism": "65"}, "scorer_parallelism is 65: set it to a whole number from 1 to 64."),
    *(({"scorer_timeout": value}, "scorer_timeout must be a number from 1 on.") for value in (0, "0", "", "soon", "-1", None, "inf", "nan")),
    *(({"scorer_user": value}, f"scorer_user is {value}: set it to the numbers of a user and a group other than root, such as 10001:10001.")
      for value in ("0:0", "1:0", 10001, "ada:ada", "")),
    ({"scorer_memory": "4 GB"}, "scorer_memory is 4 GB: set it to something like 4g."),
    ({"scorer_cpus": -1}, "scorer_cpus is -1: set it to a number, 0 for no limit."),
])  # fmt: skip
def test_problems(settings, problem):
    assert problems(**settings) == [problem]


def test_problems_of_image_engine_and_run_are_told_together():
    starts = ["scorer_release", "No Docker", "scorer_parallelism", "scorer_timeout", "scorer_user", "scorer_memory", "scorer_cpus"]
    found = problems({}, scorer_release="", scorer_parallelism=0, scorer_timeout=0, scorer_user="", scorer_memory="", scorer_cpus="")
    assert [start for problem, start in zip(found, starts, strict=True) if problem.startswith(start)] == starts
    assert problems({}, scorer_engine_install=True, scorer_engine_packages=["docker-ce"]) == []


# ---- pulling
@pytest.mark.parametrize(("said", "words"), [
    ("manifest for x@sha256:1: manifest unknown", "the image of release 3.3.42 is another one, or gone"), ("pull access: not found", "or gone"),
    ("tls: x509: unknown authority", "certificate is not trusted"), ("no basic AUTH", "it wants a login"), ("Denied", "it wants a login"),
    ("i/o timeout", "the way from this host to the registry"), ("", "check scorer_images"),
])  # fmt: skip
def test_why_nothing_is_pulled(said, words):
    assert words in FILTERS["scorer_pull_problem"](said, "3.3.42")
    assert FILTERS["scorer_pull_problem"](said, "3.3.42", True).startswith("the registry refuses the login")


# ---- a round
FILES = [{"name": name, "path": f"/in/{name}", "staged": f"/out/{name}", "rows": 3} for name in ("a.csv", "b {output}.csv", "c.csv")]


def test_a_round():
    found = FILTERS["scorer_round"](FILES, SETTINGS)
    one, two, _three = jobs = found["jobs"]
    assert {name: one[name] for name in FILES[0]} == FILES[0] and "directory" not in FILES[0]
    # As in former versions, so that what an interrupted run has left is found.
    assert one["container"] == "sparkflows-scorer-0941a63ea6b142f7" and one["directory"] == "/var/lib/scorer/runs/0941a63ea6b142f7"
    assert one["command"] == ["--model", "/model", "/input/a.csv", "/output/a.csv", "--refuse"]
    assert len({job["container"] for job in jobs}) == len({job["directory"] for job in jobs}) == 3 and two["name"] == FILES[1]["name"]
    assert found["gone"] == [{"path": job["directory"], "state": "absent"} for job in jobs]
    assert found["fresh"][:2] == [{"path": path, "state": "directory", "mode": "0700"} for path in ("/var/lib/scorer", "/var/lib/scorer/runs")]
    # Removed before they are made.
    assert found["fresh"][2:5] == found["gone"]
    made = {"state": "directory", "mode": "0700", "owner": "10001", "group": "10001"}
    assert found["fresh"][5:] == [{"path": job["directory"], **made} for job in jobs]


JOB = FILTERS["scorer_round"](FILES[:1], SETTINGS)["jobs"][0]
WRITTEN = [JOB["directory"] + "/a.csv"]
DONE = {"Status": "exited", "ExitCode": 0, "OOMKilled": False}


@pytest.mark.parametrize(("state", "written", "words"), [
    (DONE, WRITTEN, None),
    (DONE, ["/elsewhere/a.csv"], "ended well, but wrote no file /output/a.csv (compare scorer_command and scorer_output_mount)"),
    ({**DONE, "ExitCode": 7}, WRITTEN, "ended with status 7"), ({**DONE, "ExitCode": 7}, [], "ended with status 7"),
    ({**DONE, "ExitCode": 137, "OOMKilled": True}, [], "needed more memory than 4g (scorer_memory)"),
    ({**DONE, "OOMKilled": True}, WRITTEN, "needed more memory than 4g (scorer_memory)"),
    ({**DONE, "Status": "running"}, WRITTEN, "was stopped after 3600 seconds (scorer_timeout)"),
    (None, WRITTEN, "was removed by somebody else while it ran"),
])  # fmt: skip
@pytest.mark.parametrize(("log", "told"), [
    ({"stdout": "a broken\nmodel\n"}, ": a broken\nmodel"), ({"stdout": " \n"}, ". Its log is empty."), ({"skipped": True}, ". Its log is empty."),
])  # fmt: skip
def test_how_a_container_has_ended(state, written, words, log, told):
    ended = [{"job": JOB, "container": state and {"State": state}}]
    failures = FILTERS["scorer_failures"](ended, iter(written), SETTINGS, logs=[{"job": JOB, **log}])
    assert failures == ({"a.csv": f"The scorer image {words}{told}"} if words else {})
    # Before a log is read it is known whose.
    assert list(FILTERS["scorer_failures"](ended, written, SETTINGS)) == list(failures)


def test_what_could_not_be_started():
    other = dict(JOB, name="b.csv")
    started = [{"job": other, "msg": "no such image", "failed": False}, {"job": JOB, "container": {"Id": "1"}}]
    ended = [{"job": JOB, "container": {"State": {**DONE, "ExitCode": 1}}}]
    failures = FILTERS["scorer_failures"](ended, WRITTEN, SETTINGS, started)
    ends = {"b.csv": "could not be started: no such image", "a.csv": "ended with status 1. Its log is empty."}
    assert failures == {name: f"The scorer image {end}" for name, end in ends.items()}


def test_names_of_images_of_all_releases():
    name = "registry.example:5000/sparkflows/scorer"
    images = {"3.3.1": f"{name}:py_3.3.1@sha256:a", "3.3.2": f"{name}:py_3.3.2@sha256:b"}
    ours = [f"{name}:py_3.3.1", f"{name}@sha256:a"]
    others = [{"RepoTags": None, "RepoDigests": []}, {"RepoTags": ["registry.example:5000/x:1"]}]
    found = [{"RepoTags": [ours[0], "company/scorer:1"], "RepoDigests": [ours[1]]}, *others]
    assert FILTERS["scorer_image_names"](images, found) == ours
    assert FILTERS["scorer_image_names"]({}, found) == []
