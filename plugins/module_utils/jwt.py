# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an access token says about itself. Its signature is the server's business."""

import base64
import json
import time


def claims(token):
    """What the token says; empty for what is no such token."""
    try:
        payload = token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (AttributeError, IndexError, TypeError, ValueError):
        return {}


def expiry(token):
    """Seconds since the epoch at which the token ends, or None where it does not say."""
    try:
        exp = float(claims(token)["exp"])
    except (KeyError, TypeError, ValueError):
        return None
    # RFC 7519 wants seconds, Sparkflows writes milliseconds; 1e11 seconds is the year 5138.
    return exp / 1000 if exp > 1e11 else exp


def readable(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
