"""For the tests of the collection in labs, be they Molecule's or not."""

from __future__ import annotations

import re


class Run:
    """What a run of ansible-playbook said and did."""

    def __init__(self, completed):
        self.returncode = completed.returncode
        self.output = completed.stdout
        # Messages are folded by the YAML output; one line is easier to search.
        self.text = re.sub(r"\s+", " ", self.output)
        self.changed = {host: int(number) for host, number in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.output, re.M)}
