"""A double of the Sparkflows server, see README.md."""

from .server import PROPERTIES, Settings, SparkflowsServer, mint_token

__all__ = ["PROPERTIES", "Settings", "SparkflowsServer", "mint_token"]
