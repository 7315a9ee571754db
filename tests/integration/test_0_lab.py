"""The lab itself, before anything runs in it."""

from __future__ import annotations


def test_nothing_is_there(lab):
    """To remove a lab takes no Docker engine: where there is none, there is no machine to remove, and none is installed for it."""
    down = lab.run("lab_down.yml", "--extra-vars", "lab_engine_program=/nonexistent/dockerd",
                   LAB_NAME="never-made", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert down.returncode == 0, down.output
    assert down.changed["localhost"] == 0
