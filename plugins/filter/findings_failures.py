# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.sessionops.policy.plugins.module_utils._engine.table import failures

DOCUMENTATION = r"""
name: findings_failures
author: The sessionops.policy authors (@sessionops)
version_added: 0.1.0
short_description: Sentences for what is not in force
description:
  - One sentence for each value that the host could enforce and does not, naming what overrides it.
options:
  _input:
    description: The RV(sessionops.policy.policy_info#module:findings) of M(sessionops.policy.policy_info).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Fail where a value is not in force
  ansible.builtin.assert:
    that: proof.findings | sessionops.policy.findings_failures | length == 0
    fail_msg: "{{ proof.findings | sessionops.policy.findings_failures }}"
"""

RETURN = r"""
_value:
  description: The sentences.
  type: list
  elements: str
"""


class FilterModule:
    def filters(self) -> dict:
        return {"findings_failures": failures}
