"""How a rule refuses what was asked for."""

from __future__ import annotations


class Refusal(Exception):
    """An answer that is not what was asked for: status (int) and body (dict)."""

    def __init__(self, status, body):
        super().__init__(status, body)
        self.status, self.body = status, body


def refuse(field, message):
    """Raises the Refusal 400 of a field (str) with a message (str)."""
    raise Refusal(400, {field: [message]})
