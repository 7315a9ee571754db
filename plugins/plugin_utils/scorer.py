# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scorer image of a release, and what runs in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.model_stacks import FITS
from jinja2.filters import do_int as number  # 0 for what is no number: settings come as text from AWX

# Of what a survey may ask: the bounds of numbers (those of the argument spec).
ANSWERS = {"scorer_parallelism": {"min": 1, "max": 64}}
# What the engine takes, and what to set where it would not.
FORMS = {
    "scorer_user": ("[1-9][0-9]*:[1-9][0-9]*$", "the numbers of a user and a group other than root, such as 10001:10001"),
    "scorer_memory": ("[1-9][0-9]*[kmgKMG]?$", "something like 4g"),
    "scorer_cpus": ("[0-9]+([.][0-9]+)?$", "a number, 0 for no limit"),
}
# What an answer to a pull means, the first that fits.
REFUSALS = {
    "(?i)manifest.*unknown|not found": "it has no image of that digest under this name: the image of release {} is another one, or gone. Compare "
    "scorer_images with what Sparkflows says.",
    "x509|certificate": "its certificate is not trusted. Set scorer_registry_ca_path to the CA certificate of the registry.",
    "(?i)auth|denied|credentials": "it wants a login. Set scorer_registry_username and scorer_registry_password.",
}
NO_LOGIN = "the registry refuses the login. Check scorer_registry_username and scorer_registry_password."
NO_REASON = "check scorer_images and the way from this host to the registry."
# An image has one Spark, its own: no other stack can be had in it.
OTHER_SPARK = (
    "the model {path} was made with Spark {made}, and the scorer image {image} has Spark {has} (scorer_spark_version), which does not load models of "
    "newer versions or of another major version. Set scorer_release to one whose image has that Spark; or register the model in MLflow, where it is "
    "served (model_serving_models) and scores (score_offline_method=registered_model) with the stack that it was made with."
)


def scorer_engine_packages(distribution):
    """Since Debian 13 the command is a package of its own. community.docker needs requests."""
    name = distribution["id"]
    if "debian" not in [name, *distribution["id_like"]]:
        return []
    # Debian's next release has no number yet.
    number = re.match("[0-9]+", distribution["version"] or "")
    own = name == "debian" and (number is None or int(number[0]) >= 13)
    return ["docker.io", "python3-requests", *(["docker-cli"] if own else [])]


def scorer_image(settings):
    images, release = settings["scorer_images"], str(settings["scorer_release"])
    reference = str(images.get(release, "")) if isinstance(images, Mapping) else ""
    # <name>:<tag>@<digest>; a name may have a registry with a port.
    tagged = re.sub("@.*$", "", reference)
    name = re.sub(":[^:/]*$", "", tagged)
    tag, digest = (found[0][1:] if found else "" for found in (re.search(":[^:/]+$", tagged), re.search("@.*$", reference)))
    first = name.split("/")[0]
    from_archive = bool(settings["scorer_image_path"] or settings["scorer_image_url"])
    return {
        "reference": reference,
        "name": name,
        "tag": tag,
        "digest": digest,
        "registry": first if "/" in name and re.search("[.:]|^localhost$", first) else "",
        "from_archive": from_archive,
        # As the vendor names tags, py_<spark>_<release>.
        "spark": (re.findall("^py_([0-9][0-9.]*)_", tag) or [""])[0],
        # Under this name the engine knows exactly the image that is meant, so that it is looked for and run under it. An archive has no digest of
        # a registry; the name that is given to what came from it has the archive's checksum.
        "pinned": f"{name}:archive-{str(settings['scorer_image_sha256']).lower()[:12]}" if from_archive else f"{name}@{digest}",
    }


def scorer_model_problem(path, made, has, image):
    """Why the image does not load a model, or nothing. Of models that do not say their Spark nothing is known."""
    if not made or not has or FITS["Spark"](has, made):
        return ""
    return OTHER_SPARK.format(path=path, made=made, has=has, image=image)


def scorer_image_names(images, found):
    """Tags and digests that the engine has of the images of all releases. Those that somebody else gave the same image are his."""
    ours = {re.sub(":[^:/]*$", "", re.sub("@.*$", "", str(reference))) for reference in images.values()}
    names = [name for image in found for name in [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]]
    return [name for name in names if re.sub(":[^:/]*$", "", re.sub("@.*$", "", name)) in ours]


def image_problems(settings, artifact):
    release, image = str(settings["scorer_release"]), scorer_image(settings)
    digest = "(sha256:[0-9a-f]{64})?$" if image["from_archive"] else "sha256:[0-9a-f]{64}$"
    pattern = str(settings["scorer_tag_pattern"] or "").replace("{release}", re.escape(release))
    if not release:
        yield "scorer_release is empty: set it to the release of your Sparkflows server, a key of scorer_images."
    elif not image["reference"]:
        known = ", ".join(sorted(map(str, settings["scorer_images"] or ()), key=str.lower)) or "no release"
        yield (
            f"scorer_images has no image for release {release}, it has {known}: ask Sparkflows for the image of your release and add it, or "
            "correct scorer_release."
        )
    elif not image["tag"] or not re.match(digest, image["digest"]):
        yield f"scorer_images[{release}] is {image['reference']}: set it to <registry>/<name>:<tag>@sha256:<64 hexadecimal digits>."
    else:
        if pattern and not re.search(pattern, image["tag"]):
            yield (
                f"The tag {image['tag']} in scorer_images[{release}] is not one of release {release}: correct it, or scorer_tag_pattern if the "
                "vendor names tags in another way."
            )
        if image["from_archive"] and not settings["scorer_image_sha256"]:
            yield "scorer_image_sha256 is empty: set it to the SHA-256 of the archive in scorer_image_path or scorer_image_url."
        else:
            yield from artifact.get("problems", ())
        if settings["scorer_registry_username"] and not settings["scorer_registry_password"]:
            yield f"scorer_registry_password is empty: set it to the password of {settings['scorer_registry_username']} at the registry."
        yield from controller_file_problems({"scorer_registry_ca_path": settings["scorer_registry_ca_path"]})


def engine_problems(settings, engine, distribution):
    if settings["scorer_engine_install"]:
        if not settings["scorer_engine_packages"]:
            yield f"Nothing says what to install for a Docker engine on {distribution['id']}: set scorer_engine_packages."
    elif engine.get("can_talk_to_docker") is not True:
        said = shortened(str(engine.get("msg", "no answer")))
        yield (
            f"No Docker engine answers ({said}). Start it, or set scorer_engine_install to true to install the engine of the distribution and what "
            "is needed to talk to it."
        )


def shortened(text, length=300):
    """At a word's end, but for a few characters."""
    return text if len(text) <= length + 5 else text[: length - 3].rsplit(" ", 1)[0] + "..."


def run_problems(settings):
    yield from answer_problems(settings, ANSWERS)
    if number(settings["scorer_timeout"]) < 1:
        yield "scorer_timeout must be a number from 1 on."
    for name, (form, wanted) in FORMS.items():
        if not re.match(form, str(settings[name])):
            yield f"{name} is {settings[name]}: set it to {wanted}."


def scorer_problems(settings, engine, distribution, artifact=None):
    return [*image_problems(settings, artifact or {}), *engine_problems(settings, engine, distribution), *run_problems(settings)]


def scorer_pull_problem(said, release, login_failed=False):
    if login_failed:
        return NO_LOGIN
    return next((meaning.format(release) for pattern, meaning in REFUSALS.items() if re.search(pattern, str(said))), NO_REASON)


def scorer_round(files, settings):
    runs = f"{settings['scorer_work_dir']}/runs"
    owned = dict(zip(("owner", "group"), str(settings["scorer_user"]).split(":")))
    jobs = [job_of(file, runs, settings) for file in files]
    gone = [{"path": job["directory"], "state": "absent"} for job in jobs]
    kept = [{"path": path, "state": "directory", "mode": "0700"} for path in (settings["scorer_work_dir"], runs)]
    made = [{"path": job["directory"], "state": "directory", "mode": "0700", **owned} for job in jobs]
    return {"jobs": jobs, "fresh": kept + gone + made, "gone": gone}


def job_of(file, runs, settings):
    """Each has a directory of its own, which the container may write to."""
    key = hashlib.sha1(file["staged"].encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()[:16]
    values = {
        "{model}": settings["scorer_model_mount"],
        "{input}": f"{settings['scorer_input_mount']}/{file['name']}",
        "{output}": f"{settings['scorer_output_mount']}/{file['name']}",
        "{extra_columns}": settings["scorer_extra_columns"],
    }
    command = []
    for argument in map(str, settings["scorer_command"]):
        for name, value in values.items():
            argument = argument.replace(name, str(value))
        command.append(argument)
    return {**file, "container": f"sparkflows-scorer-{key}", "directory": f"{runs}/{key}", "command": command}


def scorer_failures(ended, written, settings, started=(), logs=()):
    failures, written = {}, set(written)
    for result in started:
        if "container" not in result:
            failures[result["job"]["name"]] = f"The scorer image could not be started: {result['msg']}"
    said = {log["job"]["name"]: log.get("stdout", "").strip() for log in logs}
    for result in ended:
        job = result["job"]
        problem = problem_of(job, (result["container"] or {}).get("State"), written, settings)
        if problem:
            log = said.get(job["name"])
            failures[job["name"]] = f"The scorer image {problem}{': ' + log if log else '. Its log is empty.'}"
    return failures


def problem_of(job, state, written, settings):
    """What is wrong with how a container ended, or nothing."""
    if not state:
        return "was removed by somebody else while it ran"
    if state["Status"] != "exited":
        return f"was stopped after {settings['scorer_timeout']} seconds (scorer_timeout)"
    if state["OOMKilled"]:
        return f"needed more memory than {settings['scorer_memory']} (scorer_memory)"
    if state["ExitCode"] != 0:
        return f"ended with status {state['ExitCode']}"
    if f"{job['directory']}/{job['name']}" not in written:
        place = f"{settings['scorer_output_mount']}/{job['name']}"
        return f"ended well, but wrote no file {place} (compare scorer_command and scorer_output_mount)"
    return ""
