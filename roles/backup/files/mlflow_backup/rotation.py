"""Which archives of a host go."""

import os
import re
import time


def of_host(host):
    """How a name begins."""
    return "mlflow-" + re.sub(r"[^A-Za-z0-9_.-]", "_", host)


def archive_name(host, now):
    return "{}-{}.tar.gz".format(of_host(host), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)))


def archives(directory, host):
    """Complete ones of this host, the newest first."""
    pattern = re.compile(re.escape(archive_name(host, 0)[:-len("19700101T000000Z.tar.gz")]) + r"\d{8}T\d{6}Z\.tar\.gz(\.gpg)?$")
    return sorted((name for name in os.listdir(directory) if pattern.match(name)), reverse=True)


def age_in_days(name, now):
    import calendar

    made = re.search(r"(\d{8}T\d{6}Z)\.tar", name).group(1)
    return (now - calendar.timegm(time.strptime(made, "%Y%m%dT%H%M%SZ"))) / 86400


def too_many_or_too_old(names, keep_count, keep_days, now):
    """Of names, the newest first. 0 is no limit. The newest always stays."""
    for place, name in enumerate(names):
        if place and ((keep_count and place >= keep_count) or (keep_days and age_in_days(name, now) > keep_days)):
            yield name
