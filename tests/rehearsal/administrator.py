"""An administrator with the archive, the documents and SSH: types what they say, and edits what they tell to edit."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pexpect
import yaml
from generations import install
from playbook_run import PROJECT, Run
from rehearsal.sites import AS_IT_STANDS

BECOME_PASSWORD, VAULT_PASSWORD = "becomes root; really?", "opens the vault"
# What Ansible and ssh ask, and what is typed.
ANSWERS = [
    (r"BECOME password:", BECOME_PASSWORD),
    (r"(New )?Vault password( \(\w+\))?:", VAULT_PASSWORD),
    (r"Confirm New [Vv]ault password( \(\w+\))?:", VAULT_PASSWORD),
]


def commands(document, heading=None):
    """The commands in the unmarked code blocks of a document, or of one of its chapters."""
    text = (PROJECT / document).read_text(encoding="utf-8")
    if heading:
        text = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.M | re.S).group(1)
    # One that is marked, as yaml for example, is no command.
    blocks = [block for mark, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if not mark]
    # A line that ends with a backslash goes on.
    return [line.split("  #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def as_yaml(value):
    """In one line. A text is no template for who writes an inventory, so braces are marked."""
    written = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
    return f"!unsafe {written}" if isinstance(value, str) and "{{" in value else written


class Administrator:
    """Works in a folder of their own, with an Ansible of their own."""

    def __init__(self, site, home):
        self.site, self.home = site, Path(home)
        self.folder = self.home / site.folder
        self.folder.mkdir(parents=True)
        self.inventory = self.folder / "inventory"
        # Of the shell in which the administrator works, besides what every one has.
        self.environment = {}
        self.warnings = []

    def install_ansible(self):
        """`pip install ansible`, as the README has it; uv is quicker."""
        install(self.site.core, self.home / "venv")

    def write_config(self):
        config = configparser.ConfigParser()
        config.read_dict(self.site.config)
        with (self.folder / "ansible.cfg").open("w", encoding="utf-8") as stream:
            config.write(stream)

    def type(self, command, timeout=1500):
        """Type a command into a shell, and the passwords that it asks for."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LAB_", "MOLECULE_", "PYTHON"))}
        environment.update(HOME=str(self.home), PATH=f"{self.home}/venv/bin:/usr/local/bin:/usr/bin:/bin", ANSIBLE_NOCOLOR="1", LANG="C.UTF-8",
                           **self.environment)  # fmt: skip
        shell = pexpect.spawn("/bin/bash", ["-c", command], cwd=str(self.folder), env=environment, timeout=timeout, encoding="utf-8",
                              dimensions=(50, 160), echo=False)  # fmt: skip
        said = []
        patterns = [pattern for pattern, _answer in ANSWERS]
        while True:
            found = shell.expect([pexpect.EOF, *patterns])
            said.append(shell.before + (shell.after if found else ""))
            if not found:
                break
            shell.sendline(ANSWERS[found - 1][1])
        shell.wait()
        output = "".join(said).replace("\r\n", "\n")
        with (self.home / "typed.log").open("a", encoding="utf-8") as log:
            log.write(f"\n$ {command}\n{output}")
        run = Run(subprocess.CompletedProcess(command, shell.exitstatus, output))
        assert run.returncode == 0, f"$ {command}\n{output[-8000:]}"
        self.warnings += re.findall(r"\[(?:DEPRECATION )?WARNING\].*", output)
        return run

    def edit(self, file, settings):
        """Set variables in a file of the inventory: in the line that has one, be it commented out, else in a line of its own at the end.

        AS_IT_STANDS takes only the comment sign away.
        """
        path = self.inventory / file
        text = path.read_text(encoding="utf-8")
        for name, value in settings.items():
            line = re.compile(rf"^(?P<before> *)(?:# ?)?{re.escape(name)}:.*$", re.M)
            found = line.search(text)
            if value is AS_IT_STANDS:
                text = f"{text[: found.start()]}{found[0].replace('# ', '', 1)}{text[found.end() :]}"
            elif found:
                text = f"{text[: found.start()]}{found['before']}{name}: {as_yaml(value)}{text[found.end() :]}"
            else:
                text += f"{name}: {as_yaml(value)}\n"
        path.write_text(text, encoding="utf-8")

    def files(self):
        return [(path, path.read_text(encoding="utf-8")) for path in sorted(self.inventory.rglob("*.yml"))]

    def marked(self):
        """The numbers of the places that the documents tell to edit, as far as they are not edited yet."""
        return sorted(int(number) for _path, text in self.files() for number in re.findall(r"# <- +(\d+)", text))

    def edit_places(self, values):
        """Write values into marked places: number -> value. The mark goes."""
        for path, text in self.files():
            for number, value in values.items():
                text = re.sub(rf"^( *\w+:) .*# <- +{number}\b.*$", lambda found, value=value: f"{found[1]} {as_yaml(value)}", text, flags=re.M)
            path.write_text(text, encoding="utf-8")

    def add_host_variables(self, host, variables):
        path = self.inventory / "hosts.yml"
        lines = "".join(f"          {name}: {as_yaml(value)}\n" for name, value in variables.items())
        path.write_text(path.read_text(encoding="utf-8").replace(f"        {host}:\n", f"        {host}:\n{lines}"), encoding="utf-8")
