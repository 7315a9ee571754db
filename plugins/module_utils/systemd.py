# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What systemd says of a unit."""

import time

from ansible.module_utils.common.text.converters import to_text

# A busy systemd may leave the question, or a part of it, without an answer.
ATTEMPTS = 20
PAUSE = 0.5
NUMBERS = ("MainPID", "NRestarts")


class Silent(Exception):
    """systemd does not say what must be known."""


def shown(run_command, unit, wanted, needed=()):
    """Property -> its value. What systemd does not say even when it is asked again is left out, or is an error where it is needed."""
    found, error = {}, ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        out, error = map(to_text, run_command(["systemctl", "show", "--property", ",".join(wanted), unit])[1:])
        for line in out.splitlines():
            name, equals, value = line.partition("=")
            if name in wanted and equals and (value.isdigit() or name not in NUMBERS):
                found[name] = int(value) if name in NUMBERS else value
        if len(found) == len(wanted):
            break
    missing = [name for name in needed if name not in found]
    if missing:
        raise Silent(f"systemd does not say whether {unit} runs ({', '.join(missing)}). {error}".strip())
    return found
