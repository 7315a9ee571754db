"""A virtual machine in which SELinux is enforcing, and ansible-playbook runs against it. Its processor is emulated, so all takes minutes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from playbook_run import PROJECT, run

CACHE = Path(os.environ.get("LAB_CACHE_DIR", PROJECT / ".cache/lab")) / "selinux"
START = 1800


class Machine:
    """Starts from the disk of the image; what is written there is gone in the end."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = None

    def start(self):
        console = self.folder / "console"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536", "-no-reboot", "-snapshot",
             "-display", "none", "-serial", f"file:{console}", "-kernel", CACHE / "vmlinuz", "-initrd", CACHE / "initrd",
             "-append", "root=/dev/vda rw console=ttyS0 security=selinux selinux=1 enforcing=1 net.ifnames=0",
             "-drive", f"file={CACHE / 'disk'},if=virtio,format=raw",
             "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=n0"],
            stdin=subprocess.DEVNULL)  # fmt: skip
        ends = time.monotonic() + START
        while self.ssh("true").returncode:
            assert self.process.poll() is None and time.monotonic() < ends, console.read_text(errors="replace")[-5000:]
            time.sleep(5)
        # It has no network. What apt knows of packages counts as fresh: all that is asked for is installed.
        self.sh("touch /var/lib/apt/lists")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ssh(self, script):
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes", "ConnectTimeout=60")
        return subprocess.run(["ssh", "-i", CACHE / "key", "-p", str(self.port), *(f"-o{option}" for option in options), "root@127.0.0.1", script],
                              check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip

    def sh(self, script):
        """Run a shell script on the machine and give back what it prints."""
        done = self.ssh(script)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def play(self, *arguments, **settings):
        """Settings go where an administrator has them, in a file of the inventory."""
        inventory = self.folder / "inventory"
        (inventory / "group_vars").mkdir(parents=True, exist_ok=True)
        (inventory / "hosts.yml").write_text("all: {}\n")
        (inventory / "group_vars/mlflow.yml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        return run("ansible-playbook", "--inventory=tests/selinux/inventory", f"--inventory={inventory}", "tests/selinux/site.yml", *arguments,
                   SELINUX_DIR=str(CACHE), SELINUX_PORT=str(self.port), ANSIBLE_TIMEOUT="120")  # fmt: skip


@pytest.fixture(name="machine", scope="session")
def fixture_machine(tmp_path_factory):
    assert run("ansible-playbook", "tests/selinux/image.yml", SELINUX_DIR=str(CACHE)).returncode == 0
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
                    "-subj", "/CN=mlflow1", "-addext", "subjectAltName=DNS:mlflow1,IP:10.0.2.15",
                    "-keyout", CACHE / "mlflow.key", "-out", CACHE / "mlflow.pem"], check=True, capture_output=True)  # fmt: skip
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
