# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

from ansible.errors import AnsibleFilterError
from ansible_collections.sessionops.policy.plugins.module_utils._engine.ssh_hosts import host_blocks

DOCUMENTATION = r"""
name: ssh_host_blocks
author: The sessionops.policy authors (@sessionops)
version_added: 1.0.0
short_description: Keepalives as Host blocks of ssh_config
description:
  - Turns the role C(client_keepalive)'s list of hosts into blocks, each with a host to ask C(ssh -G) about and what it
    must say.
options:
  _input:
    description: The hosts, with C(pattern), C(server_alive_interval), C(server_alive_count_max) and C(tcp_keep_alive).
    type: list
    elements: dict
    required: true
  everybody:
    description: The same three settings for all other hosts.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the blocks
  ansible.builtin.debug:
    msg: "{{ [{'pattern': '*.example.org', 'server_alive_interval': '30s'}] | sessionops.policy.ssh_host_blocks({}) }}"
"""

RETURN = r"""
_value:
  description: The blocks that say something, in their order.
  type: list
  elements: dict
  contains:
    pattern:
      description: What stands after C(Host).
      type: str
    settings:
      description: Value by keyword.
      type: dict
    sample:
      description: A host that the first pattern fits.
      type: str
    expected:
      description: What is in force for it.
      type: dict
"""


def ssh_host_blocks(hosts: list, everybody: dict) -> list[dict]:
    try:
        return [dataclasses.asdict(block) for block in host_blocks(hosts, everybody)]
    except ValueError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    def filters(self) -> dict:
        return {"ssh_host_blocks": ssh_host_blocks}
