# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

from ansible.errors import AnsibleFilterError
from ansible_collections.sessionops.policy.plugins.module_utils._engine.reaper import policy

DOCUMENTATION = r"""
name: reaper_policy
author: The sessionops.policy authors (@sessionops)
version_added: 1.0.0
short_description: The policy file of session-reaper
description:
  - Writes settings as the text of C(/etc/session-reaper/policy.json), or fails with a sentence for each that is wrong.
  - A setting that is V(null), V("") or V("None") is left out, as that is what templates make of
    nothing by the release of ansible-core.
options:
  _input:
    description: The settings by the names that the file has for them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show a policy file
  ansible.builtin.debug:
    msg: "{{ {'idle_timeout': '15m', 'exempt_users': ['backup']} | sessionops.policy.reaper_policy }}"
"""

RETURN = r"""
_value:
  description: The text of the file.
  type: str
"""


def reaper_policy(settings: dict) -> str:
    # Through JSON and back, so that the engine gets plain values and no tagged ones.
    given = json.loads(json.dumps({name: value for name, value in settings.items() if value not in (None, "", "None")}))
    try:
        policy.parse(given)
    except ValueError as exc:
        said = "\n".join(f"session_reaper_{sentence}" for sentence in str(exc).splitlines())
        raise AnsibleFilterError(f"nothing was touched:\n{said}") from exc
    return json.dumps(given, indent=2) + "\n"


class FilterModule:
    def filters(self) -> dict:
        return {"reaper_policy": reaper_policy}
