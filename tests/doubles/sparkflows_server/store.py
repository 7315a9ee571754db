"""What the server keeps of its properties."""

import json
import os
import tempfile
import threading

from .http_server import log
from .properties import MEANINGS, PROPERTIES, PROPERTY_FIELDS, parse_properties
from .refusals import Refused


class Store:
    """The property table, its database (a JSON file) and the file that overrides it at start-up."""

    def __init__(self, settings):
        self.settings = settings
        self.lock = threading.RLock()
        self.rows = {}  # name -> row with id, title, ..., value
        self.load()

    def load(self):
        """What the server does at start: table, database, properties file."""
        settings = self.settings
        rows = [dict(zip(PROPERTY_FIELDS, row)) for row in PROPERTIES]
        for meaning, name in settings.names.items():
            index = next(i for i, row in enumerate(rows) if row["name"] == MEANINGS[meaning])
            rows[index] = dict(rows[index], name=name)
        for row in settings.extra_properties:
            rows.append(dict({"title": "", "description": "", "default": "", "group": "MLOps", "secret": False}, **row))
        with self.lock:
            memory = {name: row["value"] for name, row in self.rows.items()}
            self.rows = {}
            for index, row in enumerate(rows):
                if row["name"] is None or row["name"] in settings.remove_properties:
                    continue
                # Gaps and an offset: an id is neither the position nor guessable.
                self.rows[row["name"]] = dict(row, id=101 + 3 * index, value=row["default"], value2="")
            saved = memory
            if settings.state_file and os.path.exists(settings.state_file):
                with open(settings.state_file, encoding="utf-8") as handle:
                    saved = json.load(handle)
            for name, value in saved.items():
                if name in self.rows:
                    self.rows[name]["value"] = value
                elif settings.unknown_keys == "create":
                    self._create(name)["value"] = value
            self.overrides = {}
            if settings.properties_file:
                if not os.path.exists(settings.properties_file):  # the product comes with an empty one
                    os.makedirs(os.path.dirname(os.path.abspath(settings.properties_file)), exist_ok=True)
                    open(settings.properties_file, "ab").close()
                with open(settings.properties_file, "rb") as handle:
                    listed = parse_properties(handle.read())
                self.overrides = {name: value for name, value in listed.items() if name in self.rows}
                for name in sorted(set(listed) - set(self.overrides)):
                    log(f"configuration.properties: no property has the name {name}")

    def _create(self, name):
        top = max(row["id"] for row in self.rows.values())
        self.rows[name] = {
            "name": name,
            "id": top + 3,
            "title": "",
            "description": "",
            "group": "Other",
            "secret": False,
            "value": "",
            "value2": "",
        }
        return self.rows[name]

    def save(self):
        path = self.settings.state_file
        if not path:
            return
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".state-")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({name: row["value"] for name, row in self.rows.items()}, stream, indent=1)
        os.replace(temporary, path)

    def value(self, name):
        """The value in force: the file wins over the database."""
        with self.lock:
            return self.overrides.get(name, self.rows[name]["value"])

    def flat(self, row, **more):
        value = self.value(row["name"])
        if row["secret"] and self.settings.mask_secrets and value:
            value = self.settings.mask
        return dict({"id": row["id"], "name": row["name"], "value1": value, "value2": row["value2"]}, **more)

    def wrapped(self, row):
        return {"confProperty": self.flat(row), "title": row["title"], "description": row["description"]}

    def listing(self):
        with self.lock:
            rows = list(self.rows.values())
            shape = self.settings.shape
            if shape == "flat":
                return [self.flat(row) for row in rows]
            if shape == "flat_titled":
                return [self.flat(row, title=row["title"], description=row["description"]) for row in rows]
            if shape == "wrapped":
                return [self.wrapped(row) for row in rows]
            groups = {}
            for row in rows:
                groups.setdefault(row["group"], []).append(self.wrapped(row))
            if shape == "grouped":
                return groups
            return [{"name": name, "properties": members} for name, members in groups.items()]

    def update(self, elements):
        """Save all or nothing; the answer is the flat list of what was saved."""
        if not isinstance(elements, list):
            raise Refused(
                400, "JSON parse error: Cannot deserialize value of type `java.util.ArrayList` from Object value"
            )
        with self.lock:
            wanted, created = {}, []
            for element in elements:
                if isinstance(element, dict) and "confProperty" in element:
                    element = element["confProperty"]
                if not isinstance(element, dict) or not isinstance(element.get("name"), str):
                    raise Refused(400, "JSON parse error: an element has no name")
                name, value = element["name"], element.get("value1")
                if isinstance(value, (dict, list)):
                    raise Refused(
                        400, "JSON parse error: Cannot deserialize value of type `java.lang.String` from Object value"
                    )
                if isinstance(value, bool):
                    value = str(value).lower()
                if name in wanted or name in created:
                    raise Refused(400, f"Property {name} is there twice")
                row = self.rows.get(name)
                if row is None:
                    if self.settings.unknown_keys == "refuse":
                        raise Refused(400, f"Property {name} does not exist")
                    if self.settings.unknown_keys == "ignore":
                        continue
                    created.append(name)
                elif element.get("id") != row["id"]:
                    raise Refused(400, "Id {} is not the id of property {}".format(element.get("id"), name))
                wanted[name] = "" if value is None else str(value)
            answer = []
            for name, value in wanted.items():
                row = self.rows.get(name) or self._create(name)
                if self.settings.drop_saves:
                    masked = row["secret"] and self.settings.mask_secrets and value
                    answer.append(dict(self.flat(row), value1=self.settings.mask if masked else value))
                else:
                    row["value"] = value
                    answer.append(self.flat(row))
            if not self.settings.drop_saves:
                self.save()
            return answer
