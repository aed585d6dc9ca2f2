# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.sessionops.policy.plugins.module_utils._engine.table import outcomes_table

DOCUMENTATION = r"""
name: outcomes_table
author: The sessionops.policy authors (@sessionops)
version_added: 1.0.0
short_description: A table of what became of sessions
description:
  - Turns the RV(sessionops.policy.session_terminate#module:sessions) of M(sessionops.policy.session_terminate) into a
    table for people, with what survived each session and where text was kept below it.
positional: width
options:
  _input:
    description: The sessions.
    type: list
    elements: dict
    required: true
  width:
    description: The most columns that a line may have.
    type: int
    default: 80
"""

EXAMPLES = r"""
- name: Show what became of each session
  ansible.builtin.debug:
    msg: "{{ ended.sessions | sessionops.policy.outcomes_table }}"
"""

RETURN = r"""
_value:
  description: Lines.
  type: list
  elements: str
"""


class FilterModule:
    def filters(self) -> dict:
        return {"outcomes_table": outcomes_table}
