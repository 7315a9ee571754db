"""A run of site.yml that changes nothing, beside gathering facts of the same hosts, in turn.

Usage: no_change.py ROUNDS, in the checkout, with the lab's name in the environment
"""

from __future__ import annotations

import sys

from figures import figure, leave
from runs import measure, unchanged

SITE = ["ansible-playbook", "playbooks/site.yml"]
FACTS = ["ansible", "mlflow:sparkflows", "--module-name", "ansible.builtin.setup"]


def main(rounds):
    measure(*SITE)  # what is left to do
    site, facts = [], []
    for turn in range(rounds):
        for command, found in ((SITE, site), (FACTS, facts))[:: 1 if turn % 2 else -1]:
            found.append(unchanged(measure(*command)))
    leave(
        "gathering the facts of the same hosts",
        [
            figure("site.yml", "s", [run.seconds for run in site], [run.seconds for run in facts]),
            figure("site.yml", "s of the controller's processors", [run.processor for run in site], [run.processor for run in facts]),
            *(
                figure("site.yml", f"tasks executed on {name}", [run.hosts[name].executed for run in site], [1] * rounds, f"{host.skipped} skipped")
                for name, host in site[-1].hosts.items()
            ),
        ],
        "Nothing to change, in a lab of an MLflow host and a Sparkflows host with a served Spark model.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
