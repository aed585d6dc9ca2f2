# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import parse_duration

DOCUMENTATION = r"""
name: duration
author: The sessionops.policy authors (@sessionops)
version_added: 0.1.0
short_description: Seconds in a duration that a person wrote
description:
  - Turns whole seconds or texts like V(90s), V(15m), V(1h30m) and V(2d) into an integer number of seconds.
  - V(null) and V("") become V(null), so that a setting that nobody asked for stays unset.
options:
  _input:
    description: The duration.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show fifteen minutes in seconds
  ansible.builtin.debug:
    msg: "{{ '15m' | sessionops.policy.duration }}"
"""

RETURN = r"""
_value:
  description: Seconds, or V(null).
  type: int
"""


def duration(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        return parse_duration(value)
    except ValueError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    def filters(self) -> dict:
        return {"duration": duration}
