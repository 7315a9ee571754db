"""The double as a program."""

import argparse
import json
import sys

from . import server as double
from .http_server import log, until_told_to_stop
from .server import SparkflowsServer
from .settings import Settings
from .tokens import keep_token


def main(arguments=None):
    """Serve until a signal ends it, or keep a token; `arguments`: list of texts, those of the process if None. SystemExit if they are wrong."""
    parser = argparse.ArgumentParser(prog="sparkflows_server", description=double.__doc__.splitlines()[0])
    parser.add_argument("--config", help="JSON file with switches; - reads it from standard input")
    parser.add_argument(
        "--mint-token", metavar="USER", help="do not serve: keep a valid token of this user in --token-file"
    )
    parser.add_argument("--token-file", help="where to keep it; says 'minted' or 'unchanged'")
    parser.add_argument("--days", type=float, default=30, help="how long a new token is valid")
    options = parser.parse_args(arguments)
    values = {}
    if options.config == "-":
        values = json.load(sys.stdin)
    elif options.config:
        with open(options.config, encoding="utf-8") as handle:
            values = json.load(handle)
    try:
        settings = Settings.from_dict(values)
    except (ValueError, TypeError) as error:
        parser.error(f"{options.config}: {error}")
    if options.mint_token:
        if not settings.token_secret or not options.token_file:
            parser.error("--mint-token needs token_secret in the configuration and --token-file")
        print(
            "minted"
            if keep_token(settings.token_secret, options.mint_token, options.days, options.token_file)
            else "unchanged"
        )
        return
    server = SparkflowsServer(settings, log_requests=True).start()
    for listener in server.listeners:
        log(f"listening on {listener.url}")
    until_told_to_stop()
    server.stop()
