# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  failures:
    description: What has failed already, messages by name. These files are not looked at.
    type: dict
    default: {}
notes:
  - A file that fails does not fail the module. It is named in what the module returns.
"""
