# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of Administration > Configuration: where they are kept, what they are called, which ones differ."""

import copy
import difflib
import os
import re

from ansible_collections.sparkflows.mlops.plugins.module_utils.files import read_bytes, require_directory, write_private
from ansible_collections.sparkflows.mlops.plugins.module_utils.properties import Properties
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError, Unreachable

CONFIGURATIONS = "/api/v1/configurations"

# The keys that the vendor's public pages show, word for word.
ATTESTED = [
    "mlops.mlflow.trackingURL",
    "mlops.mlflow.deploy.mode",
    "mlops.port",
    "mlops.aws.s3.access.key",
    "mlops.aws.s3.secret.key",
    "mlops.aws.s3.endpoint.url",
    "mlops.aws.s3.ignore.tls",
    "mlops.models.state.values",
    "mlops.target.deployment",
    "mlops.timeout",
    "mlops.docker.registry.sparkflows",
    "mlops.docker.context.path",
    "mlops.fire.server.jar.name",
    "mlops.deployment.container.port",
    "mlops.service.port",
    "mlops.service.target.port",
    "mlops.kubeflow.namespace",
    "mlops.kubernetes.images.namespace",
    "mlops.kubeflow.username",
    "mlops.kubeflow.password",
    "mlops.kubeflow.config.path",
    "mlops.kubeflow.hostport",
    "mlops.kubernetes.config.path",
    "mlops.region",
    "mlops.aws_id",
    "mlops.arn",
    "app.postMessageURL",
    "app.runOnCluster",
    "app.sparkSubmitJar",
    "app.fireHostPort",
    "app.firePySparkHostPort",
]

SECRET_NAME = re.compile(r"passw(or)?d|passphrase|secret|token|credential|(access|private|api)[ ._-]?key|aws_id", re.I)
MASK = re.compile(r"[*\u2022\u25cf]{3,}")
URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
HIDDEN = "********"
LONGEST_LIST = 60


def is_secret(key, title="", more=()):
    return key in more or bool(SECRET_NAME.search(key) or SECRET_NAME.search(title))


def as_text(value):
    """The text that a setting has for a YAML value."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def masked(value, secret):
    """The value as it may be shown."""
    if secret and value:
        return HIDDEN
    return URL_PASSWORD.sub(rf"\1{HIDDEN}@", value) if isinstance(value, str) else value


class Setting:
    """One setting. `value` is None only where it is not there at all; `element` is how the server wrote it."""

    def __init__(self, key, value, title="", description="", group="", element=None):
        self.key, self.value, self.title = key, value, title
        self.description, self.group, self.element = description, group, element


# ---- where settings are kept -----------------------------------------------------------------------------------------
class ApiStore:
    """The server itself, through its REST API."""

    restart_required = False
    unknown = "is not a setting of this server"

    def __init__(self, client):
        self.client = client
        self.result = {}
        self.where = f"Sparkflows at {client.url}"

    def read(self):
        settings = {}
        for element, prop, group in properties_in(self.client.get(CONFIGURATIONS)):
            settings[prop["name"]] = Setting(
                prop["name"],
                as_text(prop.get(value_field(prop))),
                str(element.get("title") or prop.get("title") or ""),
                str(element.get("description") or prop.get("description") or ""),
                group,
                element,
            )
        if not settings:
            raise MlopsError(f"{self.where}: GET {CONFIGURATIONS} answered without any setting in a known form.")
        return settings

    def accepted(self, settings):
        return settings

    def hides(self, shown):
        return not shown or bool(MASK.search(shown))

    def attributes(self):
        return {}, {}

    def write(self, settings, values):
        """Send only what differs: the elements as they were read, with the server's ids, in a plain list.

        A list of wrapped elements is the one body that the vendor's pages show.
        """
        body = []
        for key, value in values.items():
            element = copy.deepcopy(settings[key].element)
            prop = element.get("confProperty", element)
            prop[value_field(prop)] = value
            body.append(element)
        try:
            self.client.post(CONFIGURATIONS, body)
        except Unreachable as error:
            raise MlopsError(f"{error} Whether the settings were saved is not known; run this again.") from error


def properties_in(node, group=""):
    """Yield (element, property, group) from a list of wrapped or flat elements, however they are grouped."""
    if isinstance(node, list):
        for item in node:
            yield from properties_in(item, group)
    elif isinstance(node, dict):
        prop = node.get("confProperty") if isinstance(node.get("confProperty"), dict) else node
        has_parts = any(isinstance(value, (list, dict)) for value in prop.values())
        if isinstance(prop.get("name"), str) and (value_field(prop) in prop or not has_parts):
            yield node, prop, group
            return
        label = next((node[name] for name in ("name", "title", "tab", "group") if isinstance(node.get(name), str)), "")
        for key, value in node.items():
            yield from properties_in(value, label or key)


def value_field(prop):
    return "value" if "value" in prop and "value1" not in prop else "value1"


class FileStore:
    """conf/configuration.properties: read by Sparkflows at start-up, and winning over what is saved in the server."""

    restart_required = True
    unknown = "is not a key that the vendor documents (if your release has it, add it to extra_keys)"

    def __init__(self, module, path, extra_keys):
        if not path:
            raise MlopsError("Set path to conf/configuration.properties of Sparkflows, which backend=file needs.")
        self.module, self.path, self.extra_keys = module, path, list(extra_keys)
        self.where = path
        self.result = {}

    def read(self):
        require_directory(self.path, "path")
        try:
            self.properties = Properties(read_bytes(self.path) or b"")
        except ValueError as error:
            raise MlopsError(f"{self.path} is not a proper properties file: {error}.") from error
        values = self.properties.values()
        keys = ATTESTED + self.extra_keys + list(values)
        return {key: Setting(key, values.get(key)) for key in keys}

    def accepted(self, settings):
        # That a key stands in the file does not mean that the server knows it.
        return {key: settings[key] for key in ATTESTED + self.extra_keys}

    def hides(self, shown):
        return False

    def attributes(self):
        """Bring mode, owner and group of an existing file in line; the difference as (before, after)."""
        if not os.path.exists(self.path):
            return {}, {}
        params = self.module.params
        wanted = {name: params[name] for name in ("mode", "owner", "group")}
        wanted = self.module.load_file_common_arguments(wanted, path=os.path.realpath(self.path))
        diff = {"before": {}, "after": {}}
        self.module.set_fs_attributes_if_different(wanted, False, diff=diff)
        return tuple(
            {f"({name} of the file)": value for name, value in diff[side].items()} for side in ("before", "after")
        )

    def write(self, settings, values):
        for key, value in values.items():
            if value is None:
                self.properties.remove(key)
            else:
                self.properties.set(key, value)
        if self.module.params["backup"] and os.path.exists(self.path):
            self.result["backup_file"] = self.module.backup_local(self.path)
        write_private(self.module, self.path, self.properties.dump(), owner_of_directory=True)
        self.attributes()


# ---- which keys are meant --------------------------------------------------------------------------------------------
def resolve(questions, offered, taken):
    """Find the key behind each question. Returns ({name: (key, how)}, [problems])."""
    answers, problems, open_questions = {}, [], []

    def doubt(question, reason, offers):
        if not question["optional"]:
            problems.append(undecided(question, reason, offers))

    for question in questions:
        there = [key for key in question["candidates"] if key in offered]
        if question["key"]:
            answers[question["name"]] = (question["key"], "key")
        elif len(there) == 1:
            answers[question["name"]] = (there[0], "candidate")
        elif there:
            rivals = {key: offered[key] for key in there}
            doubt(question, "several of its candidate keys exist", rivals)
        else:
            open_questions.append(question)
    # What already has a meaning cannot be the answer to another question.
    taken = set(taken) | {key for key, how in answers.values()}
    free = {key: setting for key, setting in offered.items() if key not in taken}
    for question in open_questions:
        there = [key for key, setting in free.items() if title_matches(setting.title, question)]
        if len(there) == 1:
            answers[question["name"]] = (there[0], "title")
        elif there:
            doubt(question, "several titles match", {key: free[key] for key in there})
        else:
            doubt(question, "no candidate key exists and no title matches", near_mlops(free))
    return answers, problems


def title_matches(title, question):
    try:
        return any(re.search(pattern, title, re.I) for pattern in question["title_matches"])
    except re.error as error:
        what = f"title_matches of {question['name']}: {error.pattern!r}"
        raise MlopsError(f"{what} is not a regular expression ({error}).") from error


def undecided(question, reason, offers):
    label = question["description"] or question["name"]
    variable = question["variable"] or "key of this entry in discover"
    names = [f"{setting.key} ({setting.title})" if setting.title else setting.key for setting in offers.values()]
    if len(names) > LONGEST_LIST:
        names[LONGEST_LIST:] = [f"and {len(names) - LONGEST_LIST} more"]
    listed = ", ".join(names) or "nothing"
    return f"The key for '{label}' cannot be told: {reason}. Set {variable} to the right one. On offer: {listed}."


def near_mlops(offers):
    """What is worth listing; all of it where nothing looks related."""
    related = re.compile("mlops|mlflow", re.I)
    return {key: setting for key, setting in offers.items() if related.search(f"{key} {setting.title}")} or offers


def unknown_key(key, offered, store):
    similar = [other for other in offered if other.lower() == key.lower()]
    similar = similar or difflib.get_close_matches(key, list(offered), n=3, cutoff=0.75)
    hint = f"; did you mean {' or '.join(similar)}?" if similar else "."
    return f"{key} {store.unknown}{hint}"


# ---- which values differ ---------------------------------------------------------------------------------------------
def must_write(store, shown, value, secret, policy, known):
    """Whether to write `value` where the store shows `shown`; None where that cannot be known.

    `known` is a function that tells whether this value was written before and has been untouched since; None without
    such a memory.
    """
    if shown == value:
        return False
    if not secret:
        return True
    if policy == "on_create" and shown:
        return False
    if not store.hides(shown):
        return True
    if policy == "always":
        return True
    if known:
        return not known()
    return None if shown else True


def open_store(module):
    params = module.params
    if params["backend"] == "file":
        return FileStore(module, params["path"], params.get("extra_keys", []))
    return ApiStore(module.client)
