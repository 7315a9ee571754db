# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where files are put: folders that others can enter, owner and mode like those of another, and the SELinux context that belongs to the place."""

import os
import stat


def make_directories(module, path):
    """Make a folder and those above it that are missing. Others can enter them, whatever the umask of the account that we are."""
    if os.path.isdir(path):
        return
    make_directories(module, os.path.dirname(os.path.abspath(path)))
    os.mkdir(path)
    os.chmod(path, 0o755)
    module.set_context_if_different(path, module.selinux_default_context(path), False)


def give_like(path, model, mode=None):
    """Owner, group and mode of what it was made from: scores are no less private than their input."""
    status = os.stat(model)
    if os.geteuid() == 0:
        os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, mode or stat.S_IMODE(status.st_mode) & 0o777)


def relabel(module, written, path):
    """Give what was written elsewhere, a file or a folder with all in it, the SELinux context of where it is moved to.

    A rename keeps the context of where it was written. What is replaced hands on its own: somebody may have chosen it.
    """
    if not module.selinux_enabled():
        return
    below = [os.path.join(folder, name) for folder, folders, names in os.walk(written) for name in folders + names]
    for entry in [written, *below]:
        final = os.path.normpath(os.path.join(path, os.path.relpath(entry, written)))
        context = module.selinux_context(final) if os.path.lexists(final) else module.selinux_default_context(final)
        module.set_context_if_different(entry, context, False)
