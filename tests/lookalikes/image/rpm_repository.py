#!/usr/bin/python3
"""RPM packages with names and paths of Enterprise Linux 9, whose programs are links to Debian's: rpm_repository.py <Debian's files> <repository>"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

DEBIAN, REPOSITORY = sys.argv[1:]
JDK = "/usr/lib/jvm/java-8-openjdk-amd64"
EL_NGINX = """\
# For more information on configuration, see:
#   * Official English Documentation: http://nginx.org/en/docs/
#   * Official Russian Documentation: http://nginx.org/ru/docs/

user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log;
pid /run/nginx.pid;

# Load dynamic modules. See /usr/share/doc/nginx/README.dynamic.
include /usr/share/nginx/modules/*.conf;

events {
    worker_connections 1024;
}

http {
    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile            on;
    tcp_nopush          on;
    tcp_nodelay         on;
    keepalive_timeout   65;
    types_hash_max_size 4096;

    include             /etc/nginx/mime.types;
    default_type        application/octet-stream;

    # Load modular configuration files from the /etc/nginx/conf.d directory.
    # See http://nginx.org/en/docs/ngx_core_module.html#include
    # for more information.
    include /etc/nginx/conf.d/*.conf;

    server {
        listen       80;
        listen       [::]:80;
        server_name  _;
        root         /usr/share/nginx/html;

        # Load configuration files for the default server block.
        include /etc/nginx/default.d/*.conf;

        error_page 404 /404.html;
        location = /404.html {
        }

        error_page 500 502 503 504 /50x.html;
        location = /50x.html {
        }
    }

# Settings for a TLS enabled server.
#
#    server {
#        listen       443 ssl http2;
#        listen       [::]:443 ssl http2;
#        server_name  _;
#        root         /usr/share/nginx/html;
#
#        ssl_certificate "/etc/pki/nginx/server.crt";
#        ssl_certificate_key "/etc/pki/nginx/private/server.key";
#
#        # Load configuration files for the default server block.
#        include /etc/nginx/default.d/*.conf;
#
#        error_page 404 /404.html;
#            location = /40x.html {
#        }
#
#        error_page 500 502 503 504 /50x.html;
#            location = /50x.html {
#        }
#    }

}
"""
EL_NGINX_UNIT = """\
[Unit]
Description=The nginx HTTP and reverse proxy server
After=network-online.target remote-fs.target nss-lookup.target
Wants=network-online.target

[Service]
Type=forking
PIDFile=/run/nginx.pid
# Nginx will fail to start if /run/nginx.pid already exists but has the wrong
# SELinux context. This might happen when running `nginx -t` from the cmdline.
# https://bugzilla.redhat.com/show_bug.cgi?id=1268621
ExecStartPre=/usr/bin/rm -f /run/nginx.pid
ExecStartPre=/usr/sbin/nginx -t
ExecStart=/usr/sbin/nginx
ExecReload=/usr/sbin/nginx -s reload
KillSignal=SIGQUIT
TimeoutStopSec=5
KillMode=mixed
PrivateTmp=true

[Install]
WantedBy=multi-user.target
"""
EL_NFTABLES_UNIT = """\
[Unit]
Description=Netfilter Tables

[Service]
Type=oneshot
ProtectSystem=full
ProtectHome=true
ExecStart=/sbin/nft -f /etc/sysconfig/nftables.conf
ExecReload=/sbin/nft 'flush ruleset; include "/etc/sysconfig/nftables.conf";'
ExecStop=/sbin/nft flush ruleset
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
"""
EL_SSHD_UNIT = """\
[Unit]
Description=OpenSSH server daemon

[Service]
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStart=/usr/sbin/sshd -D
RuntimeDirectory=sshd
RuntimeDirectoryPreserve=yes
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


class Link(str):
    """A link, to where it leads."""


def debian(path):
    """A link to one of Debian's files."""
    return Link(DEBIAN + path)


def user(name, home):
    return f"getent passwd {name} >/dev/null || useradd --system --user-group --no-create-home --home-dir {home} --shell /sbin/nologin {name}"


def package(name, version, files=(), **more):
    """files: path -> content, link, or None for a folder."""
    return {"name": name, "version": version, "files": dict(files), "repository": "baseos", **more}


def jdk(version, repository):
    home = f"/usr/lib/jvm/java-1.8.0-openjdk-{version}.el9.x86_64"
    # What `alternatives` makes of the two packages.
    links = {
        "/usr/lib/jvm/java-1.8.0-openjdk": "/etc/alternatives/java_sdk_1.8.0_openjdk",
        "/etc/alternatives/java_sdk_1.8.0_openjdk": home,
        "/usr/lib/jvm/java-1.8.0": "/etc/alternatives/java_sdk_1.8.0",
        "/etc/alternatives/java_sdk_1.8.0": home,
        "/usr/lib/jvm/jre-1.8.0-openjdk": "/etc/alternatives/jre_1.8.0_openjdk",
        "/etc/alternatives/jre_1.8.0_openjdk": home + "/jre",
        "/usr/bin/java": "/etc/alternatives/java",
        "/etc/alternatives/java": home + "/jre/bin/java",
    }
    made = "\n".join(f"ln -sfn {target} {path}" for path, target in links.items())
    gone = "[ $1 -gt 0 ] || rm -f " + " ".join(links)
    own = {"version": version, "repository": repository}
    return [
        package("java-1.8.0-openjdk-headless", files={home: None, home + "/jre": debian(JDK + "/jre")}, **own),
        package("java-1.8.0-openjdk", requires=[f"java-1.8.0-openjdk-headless = 1:{version}.el9"], **own),
        package("java-1.8.0-openjdk-devel", requires=[f"java-1.8.0-openjdk = 1:{version}.el9"], posttrans=made, postun=gone,
                files={f"{home}/{name}": debian(f"{JDK}/{name}") for name in ("bin", "include", "lib")}, **own),
    ]  # fmt: skip


PACKAGES = [
    package("basesystem", "11-13", provides=["/bin/sh", "/usr/bin/sh", "systemd", "shadow-utils", "glibc"]),
    package("nginx-filesystem", "1:1.20.1-20", pre=user("nginx", "/var/lib/nginx"), files={
        **dict.fromkeys(("/etc/nginx", "/etc/nginx/conf.d", "/etc/nginx/default.d", "/usr/share/nginx/html", "/usr/share/nginx/modules")),
    }),
    package("nginx-core", "1:1.20.1-20", requires=["nginx-filesystem = 1:1.20.1-20.el9"], files={
        "/usr/sbin/nginx": debian("/usr/sbin/nginx"),
        "/etc/nginx/nginx.conf": EL_NGINX,
        "/etc/nginx/mime.types": "types {\n    text/html html htm shtml;\n    application/json json;\n}\n",
        "/var/lib/nginx": None,
        "/var/log/nginx": None,
    }),
    package("nginx", "1:1.20.1-20", requires=["nginx-core = 1:1.20.1-20.el9"], files={"/usr/lib/systemd/system/nginx.service": EL_NGINX_UNIT}),
    package("nftables", "1:1.0.9-3", files={
        "/usr/sbin/nft": debian("/usr/sbin/nft"),
        "/usr/lib/systemd/system/nftables.service": EL_NFTABLES_UNIT,
        "/etc/sysconfig/nftables.conf": '#include "/etc/nftables/main.nft"\n',
    }),
    # The key maker comes with the server, the client does not.
    package("openssh", "8.7p1-43", files={"/usr/bin/ssh-keygen": debian("/usr/bin/ssh-keygen"), "/etc/ssh": None}),
    package("openssh-clients", "8.7p1-43", requires=["openssh = 8.7p1-43.el9"], files={
        "/usr/bin/ssh": debian("/usr/bin/ssh"),
        "/etc/ssh/ssh_config.d": None,
        "/etc/ssh/ssh_config": "Include /etc/ssh/ssh_config.d/*.conf\n",
    }),
    package("openssh-server", "8.7p1-43", requires=["openssh = 8.7p1-43.el9"], pre=user("sshd", "/usr/share/empty.sshd"), files={
        "/usr/sbin/sshd": debian("/usr/sbin/sshd"),
        **{f"/usr/lib/openssh/{name}": debian(f"/usr/lib/openssh/{name}") for name in ("sshd-auth", "sshd-session", "sftp-server")},
        "/usr/lib/systemd/system/sshd.service": EL_SSHD_UNIT,
        "/etc/ssh/sshd_config.d": None,
        "/etc/pam.d/sshd": "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n",
        "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/authorized_keys\nUsePAM yes\n",
    }),
    # What it needs is Debian's.
    package("policycoreutils-python-utils", "3.6-2.1"),
    *jdk("1.8.0.402.b06-2", "baseos"),
    *jdk("1.8.0.412.b08-2", "updates"),
]  # fmt: skip


def spec(one, tree):
    epoch, _colon, rest = one["version"].rpartition(":")
    if one["name"].startswith("java-"):
        epoch = "1"
    version, release = rest.split("-")
    lines = [f"Name: {one['name']}", f"Version: {version}", f"Release: {release}.el9", f"Epoch: {epoch or 0}"]
    lines += ["Summary: Of a look-alike", "License: GPL-3.0-or-later", "BuildArch: x86_64", "AutoReqProv: no"]
    lines += [f"Requires: {name}" for name in one.get("requires", [])] + [f"Provides: {name}" for name in one.get("provides", [])]
    lines += ["%description", "Of a look-alike.", "%install", f"mkdir -p %{{buildroot}}; cp -a {tree}/. %{{buildroot}}"]
    for scriptlet in ("pre", "posttrans", "postun"):
        lines += [f"%{scriptlet}", one[scriptlet]] if scriptlet in one else []
    lines += ["%files"]
    for path, content in one["files"].items():
        setting = path.startswith("/etc/") and not isinstance(content, Link)
        lines.append(("%dir " if content is None else "%config(noreplace) " if setting else "") + path)
    return "\n".join(lines) + "\n"


def build(one):
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder, "tree")
        tree.mkdir()
        for path, content in one["files"].items():
            target = tree / path.lstrip("/")
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                target.symlink_to(content)
            else:
                target.write_text(content)
        pathlib.Path(folder, "package.spec").write_text(spec(one, tree))
        # Links lead to what is no part of the package: nothing there is to be looked at.
        subprocess.run(["rpmbuild", "--quiet", "-bb", "--define", f"_topdir {folder}", "--define", f"_rpmdir {REPOSITORY}/{one['repository']}",
                        "--define", "__os_install_post %{nil}", "--define", "__check_files %{nil}", "--define", "debug_package %{nil}",
                        "--define", "_binary_payload w0.gzdio", f"{folder}/package.spec"], check=True)  # fmt: skip


for entry in PACKAGES:
    build(entry)
