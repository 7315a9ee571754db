"""Access tokens: HS512 JWT with exp in milliseconds and iat in seconds, as the published sample has them."""

import base64
import hashlib
import hmac
import json
import os
import tempfile
import time


class BadToken(Exception):
    """The text is what the server says in error_description."""


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _signature(secret, signed):
    return _b64(hmac.new(secret.encode(), signed.encode(), hashlib.sha512).digest())


def mint_token(secret, user, expires, now=None):
    """A token for `user` that expires at `expires` (seconds since the epoch)."""
    claims = {"sub": user, "exp": int(expires * 1000), "iat": int(time.time() if now is None else now)}
    signed = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in ({"alg": "HS512"}, claims))
    return signed + "." + _signature(secret, signed)


def token_claims(secret, token):
    """The claims of a good token; BadToken for any other."""
    try:
        signed, signature = token.rsplit(".", 1)
        header, claims = (json.loads(_unb64(part)) for part in signed.split("."))
        if header.get("alg") != "HS512":  # above all not "none"
            raise ValueError("algorithm")
        expires = float(claims["exp"]) / 1000
        claims["sub"]  # noqa: B018 - a token without a user is none
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadToken("Invalid access token") from error
    if not hmac.compare_digest(signature.encode(), _signature(secret, signed).encode()):
        raise BadToken(
            "JWT signature does not match locally computed signature. "
            "JWT validity cannot be asserted and should not be trusted."
        )
    if expires <= time.time():
        raise BadToken("Access token expired: " + token)  # the framework does echo it: callers must mask it
    return claims


def keep_token(secret, user, days, path):
    """Keep in `path` (0600) a token of `user` that stays good for half of `days` or more; True = made a new one."""
    try:
        with open(path, encoding="ascii") as handle:
            claims = token_claims(secret, handle.read().strip())
        if claims["sub"] == user and claims["exp"] / 1000 > time.time() + days * 43200:
            return False
    except (OSError, BadToken):
        pass
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".token-")  # mode 0600
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(mint_token(secret, user, time.time() + days * 86400))
    os.replace(temporary, path)
    return True
