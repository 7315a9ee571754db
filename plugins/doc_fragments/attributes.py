# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and says what would change, without changing it.
  diff_mode:
    description: Returns what changes, or would change in check mode, when in diff mode.
  idempotent:
    description: When run again with the same input on the same system, changes nothing.
  platform:
    description: Target operating systems of the host on which the module runs.
    platforms: posix
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Changes nothing, so it does the same in check mode.
  diff_mode:
    support: none
    details: Changes nothing, so there is no difference to show.
  idempotent:
    support: full
"""
