"""A double of the API of AWX, see README.md."""

from .server import AwxApi
from .settings import Settings

__all__ = ["AwxApi", "Settings"]
