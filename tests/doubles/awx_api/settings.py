"""The switches of the double."""

from __future__ import annotations

import dataclasses

from .kinds import DATA


@dataclasses.dataclass
class Settings:
    """Every switch. A configuration file is a JSON object with some of these names; tests set attributes."""

    address: str = "127.0.0.1"
    port: int = 0
    # Where the API is: that of a controller behind the gateway of AAP 2.5 and newer is at /api/controller/, and nowhere else.
    prefix: str = "/api/"
    # What each answer says that it is of. AAP calls itself "Red Hat Ansible Automation Platform", and has the version of its controller.
    product: str = "AWX"
    version: str = DATA["version"]
    # User name: password. They may do everything.
    users: dict = dataclasses.field(default_factory=lambda: {"admin": "password"})
    # A token that does not end, as one makes it in the UI.
    token: str = ""
    # The playbooks of every git project after a good update, how that update ends, and how many looks at the project it takes.
    playbooks: list = dataclasses.field(default_factory=list)
    update_result: str = "successful"
    update_looks: int = 1
    # Kinds whose lists are empty for who logs in with a user name: nobody may see everything.
    hidden: list = dataclasses.field(default_factory=list)
    # Folders for manual projects on the server, and the playbooks in each.
    folders: dict = dataclasses.field(default_factory=dict)
