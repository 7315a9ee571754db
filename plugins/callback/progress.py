# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: aggregate
version_added: 1.0.0
author: Sparkflows MLOps collection contributors (@sparkflows)
short_description: Says which tasks are still running
description:
  - A task shows nothing while it runs, and some run for minutes. Again and again, a line says which task is still running, where, and for how long.
  - The lines go to standard error, so what reads the output of a run is not disturbed.
requirements:
  - Set C(callbacks_enabled = sparkflows.mlops.progress) in the section C(defaults) of C(ansible.cfg), or E(ANSIBLE_CALLBACKS_ENABLED).
notes:
  - With C(display_skipped_hosts = false) the callback C(default) tells the name of a task only with its first result. Leave it at C(true).
options:
  interval:
    description: After how many seconds without a result a task is named, and named again.
    type: float
    default: 20
    env:
      - name: MLOPS_PROGRESS_INTERVAL
    ini:
      - section: callback_progress
        key: interval
"""

import threading
import time
from dataclasses import dataclass

from ansible import constants as C
from ansible.plugins.callback import CallbackBase


@dataclass
class Running:
    name: str
    since: float
    # When it was last seen to do something.
    seen: float
    items: int = 0


def duration(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def lines(running, now, interval):
    """What is to be said at a time of what runs: {(host, task): Running}. Who is named counts as seen."""
    told = {}
    for (host, task), one in sorted(running.items()):
        if now - one.seen >= interval:
            one.seen = now
            told.setdefault(task, []).append((host, one))
    for hosts in told.values():
        longest = max(now - one.since for _host, one in hosts)
        items = sum(one.items for _host, one in hosts)
        yield (f"... running for {duration(longest)}: {hosts[0][1].name} [{', '.join(host for host, _one in hosts)}]"
               + (f", {items} items done" if items else ""))  # fmt: skip


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sparkflows.mlops.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._running, self._names, self._ended = {}, {}, threading.Event()

    def _watch(self, ended):
        interval = self.get_option("interval")
        while not ended.wait(min(1, interval)):
            # A copy: results come in meanwhile.
            for line in lines(dict(self._running), time.monotonic(), interval):
                self._display.display(line, color=C.COLOR_DEBUG, stderr=True)

    def v2_playbook_on_start(self, playbook):
        self._running, self._names, self._ended = {}, {}, threading.Event()
        threading.Thread(target=self._watch, args=[self._ended], daemon=True).start()

    def v2_playbook_on_stats(self, stats):
        self._ended.set()

    # Templates in a name are there as values only when the task starts.
    def v2_playbook_on_task_start(self, task, is_conditional):
        self._names[task._uuid] = task.get_name().strip()

    v2_playbook_on_cleanup_task_start = v2_playbook_on_task_start

    def v2_playbook_on_handler_task_start(self, task):
        self._names[task._uuid] = task.get_name().strip()

    def v2_runner_on_start(self, host, task):
        now = time.monotonic()
        self._running[host.get_name(), task._uuid] = Running(self._names.get(task._uuid) or task.get_name().strip(), now, now)

    # Before ansible-core 2.19, host and task of a result have these names only.
    def _end(self, result, **_more):
        self._running.pop((result._host.get_name(), result._task._uuid), None)

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = _end

    def _seen(self, result):
        one = self._running.get((result._host.get_name(), result._task._uuid))
        if one:
            one.seen = time.monotonic()
        return one

    v2_runner_retry = v2_runner_on_async_poll = _seen

    def _item(self, result):
        one = self._seen(result)
        if one:
            one.items += 1

    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = _item
