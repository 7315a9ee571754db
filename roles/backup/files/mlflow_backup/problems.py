"""What an administrator has to know."""


class Problem(Exception):
    """Something cannot be done; the text says what and why, and what to do."""


class Damaged(Problem):
    """An archive is not what its manifest says."""
