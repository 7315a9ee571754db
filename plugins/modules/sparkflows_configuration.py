#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: sparkflows_configuration
short_description: Set values in Administration > Configuration of Sparkflows
version_added: 1.0.0
description:
  - Sets settings of Sparkflows by their exact key, or by what they mean where the key is not published.
  - Reads, compares, writes only what differs, reads again and checks that it was kept. Nothing at all is written if any
    setting is unknown.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.connection
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: Not with O(update_secrets=always) on a server that hides secrets.
options:
  settings:
    description:
      - Values by exact key. Booleans and numbers become the text that the server keeps.
      - A null leaves the setting as it is; an empty string empties it.
      - A value such as C($name), which Sparkflows since 3.3.18 looks up in its credential store, passes unchanged.
      - A key that does not exist is refused, with the names that look like it.
    type: dict
    default: {}
  discover:
    description:
      - Values for settings whose key is not known. The server is asked for the key; none is ever guessed.
      - The key is the one of O(discover[].candidates) that exists, or else that of the property whose title matches
        one of O(discover[].title_matches). Properties that already have another meaning in the same call are left out.
      - If none fits, or several do, the module fails, lists what the server offers and says what to set.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Short name of the meaning. It appears in RV(resolved).
        type: str
        required: true
      description:
        description: Name for people, used in error messages.
        type: str
      value:
        description: The value. An entry without a value is skipped.
        type: raw
      key:
        description: The exact key, once it is known. Then nothing is searched.
        type: str
      candidates:
        description: Exact keys that the setting may have. Exactly one of them must exist to be used.
        type: list
        elements: str
        default: []
      title_matches:
        description: Regular expressions, regardless of case, one of which is found in the title of the property.
        type: list
        elements: str
        default: []
      variable:
        description: What the error message tells the operator to set, such as the variable of a role that ends up in
          O(discover[].key).
        type: str
      secret:
        description: Whether the value is a secret. Names that contain words such as password are secrets in any case.
        type: bool
        default: false
      optional:
        description:
          - Whether the entry is left out where its key is not there or cannot be told, instead of failing. With an empty
            value it is left out, too, where O(backend=file) does not list it.
        type: bool
        default: false
  backend:
    description:
      - V(api) talks to the server.
      - V(file) changes C(conf/configuration.properties) on the host on which the module runs, for sites without access
        by token. Sparkflows reads it at start-up; what is listed there wins over what is saved in the server.
      - The file cannot tell which keys the server knows. With V(file), the documented keys and O(extra_keys) are
        accepted.
    type: str
    choices: [api, file]
    default: api
  path:
    description: The properties file, for O(backend=file). Its directory must exist.
    type: path
  extra_keys:
    description: Keys that O(backend=file) accepts in addition to the documented ones.
    type: list
    elements: str
    default: []
  backup:
    description: Whether to keep a copy of the file with a time stamp before changing it.
    type: bool
    default: false
  mode:
    description: Mode of the file. It holds secrets in plain text.
    type: raw
    default: "0600"
  owner:
    description: Owner of the file. Without it an existing file keeps its owner, and a new one gets that of its
      directory.
    type: str
  group:
    description: Group of the file. Without it an existing file keeps its group, and a new one gets that of its
      directory.
    type: str
  secret_keys:
    description:
      - Further keys whose values are secrets.
      - Keys and titles with words such as password, secret, token or access key are secrets anyway.
    type: list
    elements: str
    default: []
  update_secrets:
    description:
      - What to do about a secret that the server does not show (a mask such as C(********), or nothing). A secret that
        can be read is compared like any other value, except with V(on_create).
      - V(auto) writes it if it is not the one that was written last, or if what the server shows for it has changed
        since, both according to O(secrets_state_path). Without O(secrets_state_path) it writes it only where the
        server shows nothing; a masked one is left alone, listed in RV(unverified_secrets), and a warning says so.
      - A change by hand on the server after which the mask looks the same cannot be seen by any of them.
      - V(always) writes it in every run and reports a change in every run.
      - V(on_create) writes it only if there is none yet, and never replaces one.
    type: str
    choices: [auto, always, on_create]
    default: auto
  state:
    description:
      - V(present) sets the given settings.
      - V(former) puts back what O(former_path) says of the settings that were written, and forgets it. What somebody has changed
        since is left as it is, and a warning names it. A secret is emptied. O(settings) and O(discover) are not looked at.
    type: str
    choices: [present, former]
    default: present
  former_path:
    description:
      - File on the host on which the module runs that remembers what each setting was before this module wrote it first,
        for the day on which it is to be put back. Its directory is made if only that is missing. It holds no secret.
    type: path
  secrets_state_path:
    description:
      - File on the host on which the module runs that remembers hidden secrets, so that a changed one is noticed and an
        unchanged one is not written again. Its directory is made if only that is missing.
      - It holds a salted PBKDF2 hash for each, never the secret, and has mode 0600. Without the file, hidden secrets
        are written once more.
    type: path
notes:
  - Secrets do not appear in the result, the diff, error messages or the system log. Passwords within URLs are masked,
    too.
  - A key in C(conf/configuration.properties) wins over what O(backend=api) saves, and the API does not show that.
seealso:
  - module: sparkflows.mlops.sparkflows_configuration_info
"""

EXAMPLES = r"""
- name: Point Sparkflows to MLflow
  sparkflows.mlops.sparkflows_configuration:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
    settings:
      mlops.mlflow.trackingURL: https://mlflow.example.com
      mlops.mlflow.deploy.mode: fire_mlops_server
      mlops.port: 8086
      mlops.aws.s3.access.key: "{{ s3_access_key }}"
      mlops.aws.s3.secret.key: "{{ s3_secret_key }}"
    discover:
      - name: fire_mlops_host
        description: Fire MLOps host
        value: mlflow.example.com
        candidates: [mlops.host, mlops.fire.host]
        title_matches: ['fire mlops.*host']
        variable: sparkflows_configuration_fire_mlops_host_key
    secrets_state_path: /var/lib/sparkflows-mlops/secrets.json

- name: Put back what was there before
  sparkflows.mlops.sparkflows_configuration:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
    state: former
    former_path: /var/lib/sparkflows-mlops/former.json

- name: The same without access to the API; restart Sparkflows if it says so
  sparkflows.mlops.sparkflows_configuration:
    backend: file
    path: /home/sparkflows/fire/conf/configuration.properties
    settings:
      mlops.mlflow.trackingURL: https://mlflow.example.com
    backup: true
  notify: Restart Sparkflows
"""

RETURN = r"""
settings:
  description: The settings that were asked for with their values now (in check mode - as they would be), by key.
    Secrets are masked.
  returned: success
  type: dict
  sample: {mlops.port: "8086", mlops.aws.s3.secret.key: "********"}
changed_keys:
  description: Keys of the settings that were written, or would be.
  returned: success
  type: list
  elements: str
  sample: [mlops.port]
resolved:
  description: For each entry of O(discover), the key and how it was found (V(key), V(candidate) or V(title)).
  returned: success
  type: dict
  sample: {fire_mlops_host: {key: mlops.host, by: title}}
unverified_secrets:
  description: Secrets that the server hides and that were left alone because nothing tells whether they are right.
  returned: success
  type: list
  elements: str
  sample: []
restart_required:
  description:
    - Whether Sparkflows must be restarted for the change, which is so whenever O(backend=file) changed the content of
      the file.
    - Whether changes through the API need a restart is not documented; it is always V(false) then.
  returned: success
  type: bool
  sample: false
backup_file:
  description: The copy of the file.
  returned: if O(backup=true) and the file was there and changed
  type: str
  sample: /home/sparkflows/fire/conf/configuration.properties.2711.2025-11-24@10:31:25~
problems:
  description: Each reason for which nothing was written, one text for each.
  returned: if keys are unknown or cannot be found
  type: list
  elements: str
  sample: ["mlops.mlflow.trackingUrl is not a setting of this server; did you mean mlops.mlflow.trackingURL?"]
"""

import copy

from ansible_collections.sparkflows.mlops.plugins.module_utils.fingerprints import Fingerprints
from ansible_collections.sparkflows.mlops.plugins.module_utils.former import Former
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome, SparkflowsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.settings import (
    HIDDEN,
    MASK,
    as_text,
    is_secret,
    masked,
    must_write,
    open_store,
    resolve,
    unknown_key,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


class ConfigurationModule(SparkflowsModule):
    found_secret = frozenset()  # keys, and names in discover, of which the server's titles say that they are secrets

    def shown_params(self):
        shown = copy.deepcopy(self.params)
        more = set(self.found_secret)
        if isinstance(shown.get("secret_keys"), list):
            more.update(map(str, shown["secret_keys"]))
        # Before validation these can be anything; what has not its shape cannot be told apart and is hidden whole.
        if isinstance(shown.get("settings"), dict):
            shown["settings"] = {
                key: masked(value, is_secret(str(key), more=more)) for key, value in shown["settings"].items()
            }
        elif shown.get("settings"):
            shown["settings"] = HIDDEN
        questions = shown.get("discover")
        if isinstance(questions, list) and all(isinstance(question, dict) for question in questions):
            for question in questions:
                if "value" in question:
                    secret = asks_for_secret(question) or question.get("name") in more
                    question["value"] = masked(question["value"], secret)
        elif questions:
            shown["discover"] = HIDDEN
        return shown


def without(name, key, questions, settings):
    """Whether the answer to an optional question is about a setting that is not there."""
    question = next(question for question in questions if question["name"] == name)
    there = key in settings and (settings[key].value is not None or as_text(question["value"]))
    return question["optional"] and not there


def asks_for_secret(question):
    texts = [question.get(name) for name in ("name", "description", "key", "variable")]
    for name in ("candidates", "title_matches"):
        texts += question[name] if isinstance(question.get(name), list) else []
    return question.get("secret") not in (None, False) or any(is_secret(str(text)) for text in texts if text)


def configure(module):
    params = module.params
    store = open_store(module)
    settings = store.read()
    putting_back = params["state"] == "former"
    # What was written was accepted.
    accepted = settings if putting_back else store.accepted(settings)

    former = Former(params["former_path"], params["path"] if params["backend"] == "file" else module.client.url, module.warn)
    questions = [] if putting_back else [question for question in params["discover"] if question["value"] is not None]
    wanted = former.wanted(settings) if putting_back else {key: value for key, value in params["settings"].items() if value is not None}
    answers, problems = resolve(questions, accepted, wanted)
    answers = {name: answer for name, answer in answers.items() if not without(name, answer[0], questions, settings)}
    more_secret = set(params["secret_keys"]) | former.secrets()
    for question in questions:
        if question["name"] not in answers:
            continue
        key = answers[question["name"]][0]
        if key in wanted:
            problems.append(f"{question['name']} is {key}, which this call sets already under another name.")
        wanted[key] = question["value"]
        if asks_for_secret(question):
            more_secret.add(key)
    titles = {key: accepted[key].title if key in accepted else "" for key in wanted}
    secrets = {key for key in wanted if is_secret(key, titles[key], more_secret)}
    module.found_secret = secrets | {name for name, (key, how) in answers.items() if key in secrets}
    problems += [unknown_key(key, accepted, store) for key in wanted if key not in accepted]
    compound = [key for key, value in wanted.items() if isinstance(value, (list, dict))]
    problems += [f"{key} needs a single value, not a list or a dictionary." for key in compound]
    # A line that was not in the file goes; a server keeps a setting, and it is empty.
    wanted = {key: None if value is None and params["backend"] == "file" else as_text(value) for key, value in wanted.items()}
    masks = [key for key in sorted(secrets) if wanted[key] and MASK.fullmatch(wanted[key])]
    problems += [f"The value of {key} is a mask, not a secret." for key in masks]
    if problems:
        raise MlopsError(f"{store.where}: nothing was written. " + " ".join(problems), problems=problems)

    if params["backend"] == "api":
        module.client.http.hide(wanted[key] for key in secrets)
    memory = None
    if params["secrets_state_path"] and params["backend"] == "api":
        memory = Fingerprints(params["secrets_state_path"], module.client.url, module.warn)

    writes, unverified = {}, []
    for key, value in wanted.items():
        shown = settings[key].value
        known = (lambda k=key, v=value, s=shown: memory.matches(k, v, s)) if memory else None
        needed = must_write(store, shown, value, key in secrets, "always" if putting_back else params["update_secrets"], known)
        if needed:
            writes[key] = value
        elif needed is None:
            unverified.append(key)
    if unverified:
        module.warn(
            f"{store.where} hides {', '.join(sorted(unverified))}: whether these are the wanted values is not known, "
            "so they were left alone. Set secrets_state_path, or update_secrets to always or on_create."
        )

    before = {key: masked(settings[key].value, key in secrets) for key in wanted}
    after = {key: shown_after(wanted[key], key in secrets) if key in writes else before[key] for key in wanted}
    attributes_before, attributes_after = store.attributes()
    if writes and not module.check_mode:
        if memory and secrets & set(writes):
            memory.prepare()
        if not putting_back:
            # Before anything is written: a run that is cut off must not take its own work for what was there.
            former.remember(module, settings, writes, secrets)
        store.write(settings, writes)
        verify(module, store, settings, writes, secrets, memory)
    if putting_back and not module.check_mode:
        former.forget(module)
    return Outcome(
        dict(before, **attributes_before),
        dict(after, **attributes_after),
        header=store.where,
        settings={key: masked(wanted[key] if key in writes else settings[key].value, key in secrets) for key in wanted},
        changed_keys=sorted(writes),
        resolved={name: dict(key=key, by=how) for name, (key, how) in answers.items()},
        unverified_secrets=sorted(unverified),
        restart_required=bool(writes) and store.restart_required,
        **store.result,
    )


def shown_after(value, secret):
    """A written value, told apart from the former one even where both are masked."""
    shown = masked(value, secret)
    return shown if shown == value else f"{shown} (written)"


def verify(module, store, former, writes, secrets, memory):
    """Read again: what was written must be there, or hidden where it is a secret, and nothing else may be gone."""
    settings = store.read()
    gone = sorted(set(former) - set(settings))
    if gone:
        raise MlopsError(f"{store.where}: after saving {', '.join(writes)} these settings are gone: {', '.join(gone)}.")
    lost, remembered = [], False
    for key, value in writes.items():
        shown = settings[key].value or ""
        if shown == (value or ""):
            continue
        if key in secrets and value and store.hides(shown):
            if not shown:
                module.warn(f"{store.where} shows no value for {key} after it was written, so that cannot be verified.")
            if memory:
                memory.remember(key, value, shown)
                remembered = True
        else:
            how = "another value" if key in secrets else f"{masked(shown, False)!r} instead of {masked(value, False)!r}"
            lost.append(f"{key} ({how})")
    # Of a save that went wrong nothing is remembered: the next run has to write it all again.
    if remembered and not lost:
        memory.save(module)
    if lost:
        raise MlopsError(f"{store.where} accepted the change but did not keep it: {', '.join(lost)}.")


def main():
    module = ConfigurationModule(
        argument_spec=dict(
            settings=dict(type="dict", default={}),
            discover=dict(
                type="list",
                elements="dict",
                default=[],
                options=dict(
                    name=dict(type="str", required=True),
                    description=dict(type="str"),
                    value=dict(type="raw"),
                    key=dict(type="str", no_log=False),
                    candidates=dict(type="list", elements="str", default=[]),
                    title_matches=dict(type="list", elements="str", default=[]),
                    variable=dict(type="str"),
                    secret=dict(type="bool", default=False, no_log=False),
                    optional=dict(type="bool", default=False),
                ),
            ),
            backend=dict(type="str", choices=["api", "file"], default="api"),
            path=dict(type="path"),
            extra_keys=dict(type="list", elements="str", default=[], no_log=False),
            backup=dict(type="bool", default=False),
            mode=dict(type="raw", default="0600"),
            owner=dict(type="str"),
            group=dict(type="str"),
            secret_keys=dict(type="list", elements="str", default=[], no_log=False),
            state=dict(type="str", choices=["present", "former"], default="present"),
            former_path=dict(type="path"),
            update_secrets=dict(type="str", choices=["auto", "always", "on_create"], default="auto", no_log=False),
            secrets_state_path=dict(type="path", no_log=False),
        ),
        required_if=[("backend", "file", ("path",))],
    )
    module.run(configure)


if __name__ == "__main__":
    main()
