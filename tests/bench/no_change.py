# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of site.yml that changes nothing, beside gathering facts of the same hosts, in turn. Prints a table in Markdown, then one line of JSON.

Usage: no_change.py ROUNDS, in the checkout, with the lab's name in the environment
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time

SITE = ["ansible-playbook", "playbooks/site.yml"]
FACTS = ["ansible", "mlflow:sparkflows", "--module-name", "ansible.builtin.setup"]
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=0\s+failed=0\s+skipped=(\d+)", re.MULTILINE)


def run(command):
    """Seconds, seconds of the controller's processors, and what it printed."""
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    took, after = time.perf_counter() - began, os.times()
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return took, after.children_user + after.children_system - before.children_user - before.children_system, done.stdout


def main(rounds):
    run(SITE)  # what is left to do
    site, facts, tasks = [], [], {}
    for turn in range(rounds):
        for command, figures in ((SITE, site), (FACTS, facts))[:: 1 if turn % 2 else -1]:
            *seconds, output = run(command)
            figures.append(seconds)
            if command is SITE:
                tasks = {host: {"executed": int(ok), "skipped": int(skipped)} for host, ok, changed, skipped in RECAP.findall(output)}
                changed = {host: int(changed) for host, _ok, changed, _skipped in RECAP.findall(output)}
                if any(changed.values()):
                    sys.exit(f"This run has changed something: {changed}")
    (wall, processor), (facts_wall, facts_processor) = (map(statistics.median, zip(*figures)) for figures in (site, facts))
    print(f"| {rounds} pairs, medians | `site.yml`, nothing to change | gathering facts | ratio |\n| --- | ---: | ---: | ---: |")
    print(f"| seconds | {wall:.1f} | {facts_wall:.1f} | {wall / facts_wall:.1f} |")
    print(f"| seconds of the controller's processors | {processor:.1f} | {facts_processor:.1f} | {processor / facts_processor:.1f} |")
    for host, counted in tasks.items():
        print(f"| tasks executed on {host} (skipped) | {counted['executed']} ({counted['skipped']}) | 1 | |")
    print(json.dumps({"seconds": [wall, facts_wall], "controller": [processor, facts_processor], "tasks": tasks, "rounds": rounds}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
