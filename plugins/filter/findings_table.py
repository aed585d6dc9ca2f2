# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.sessionops.policy.plugins.module_utils._engine.table import findings_table

DOCUMENTATION = r"""
name: findings_table
author: The sessionops.policy authors (@sessionops)
version_added: 0.1.0
short_description: Findings of policy_info as a table for a terminal
description:
  - Lists what is wanted, what is in force and where that comes from, by clock.
  - A row starts with C(!) where the wanted value is not in force and with C(-) where nothing on the host enforces it;
    sentences that say why nothing does follow the rows. P(sessionops.policy.findings_failures#filter) explains the
    others.
options:
  _input:
    description: The RV(sessionops.policy.policy_info#module:findings) of M(sessionops.policy.policy_info).
    type: list
    elements: dict
    required: true
  width:
    description: The longest a line may be.
    type: int
    default: 80
"""

EXAMPLES = r"""
- name: Show the findings
  ansible.builtin.debug:
    msg: "{{ proof.findings | sessionops.policy.findings_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


class FilterModule:
    def filters(self) -> dict:
        return {"findings_table": findings_table}
