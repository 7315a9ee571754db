"""What ends a request early, from wherever it is noticed; the handler makes an answer of it."""


class Refused(Exception):
    """A request that the server answers with an error."""

    def __init__(self, status, body):
        super().__init__(status, body)
        self.status = status
        self.body = body


class Redirect(Exception):
    """To this path."""


class LoginPage(Exception):
    """The login page with status 200."""
