# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
requirements:
  - Python 3.8 or later on the host
attributes:
  check_mode:
    description: Can run in check mode and says what it would change, without changing anything.
  diff_mode:
    description: Says in diff mode what has changed, or in check mode what would change.
  idempotent:
    description: A second run with the same options changes nothing.
  platform:
    description: The systems it runs on.
    platforms: linux
    support: full
"""

    # For modules that only look.
    INFO_MODULE = r"""
options: {}
requirements:
  - Python 3.8 or later on the host
attributes:
  check_mode:
    description: Can run in check mode and says what it would change, without changing anything.
    support: full
    details: [It changes nothing.]
  diff_mode:
    description: Says in diff mode what has changed, or in check mode what would change.
    support: N/A
    details: [It changes nothing.]
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  platform:
    description: The systems it runs on.
    platforms: linux
    support: full
"""
