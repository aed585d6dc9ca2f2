# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible import context
from ansible_collections.sessionops.policy.plugins.plugin_utils._output import DEFAULT_INVENTORY

DOCUMENTATION = r"""
name: hosts_to_harden
author: The sessionops.policy authors (@sessionops)
version_added: 0.1.0
short_description: All hosts of the inventory, or this machine where nobody named an inventory
description:
  - Gives the C(hosts) pattern V(all), or V(localhost) where there is no inventory at all.
  - An inventory that was named but holds no host, or whose path is mistyped, does not make it this machine.
options:
  _input:
    description: The magic variable C(groups).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Harden the inventory's hosts, or this machine
  hosts: "{{ groups | sessionops.policy.hosts_to_harden }}"
  gather_facts: false
  roles:
    - sessionops.policy.session_policy
"""

RETURN = r"""
_value:
  description: The pattern.
  type: str
"""


def hosts_to_harden(groups: dict) -> str:
    named = set(context.CLIARGS.get("inventory") or ()) - {DEFAULT_INVENTORY}
    return "all" if groups["all"] or named else "localhost"


class FilterModule:
    def filters(self) -> dict:
        return {"hosts_to_harden": hosts_to_harden}
