# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

from ansible_collections.sessionops.policy.plugins.module_utils._engine.policy import resolve
from ansible_collections.sessionops.policy.plugins.plugin_utils._profiles import read_profiles

DOCUMENTATION = r"""
name: resolve_policy
author: The sessionops.policy authors (@sessionops)
version_added: 0.1.0
short_description: One policy out of a profile and the operator's wishes
description:
  - Lays what the operator set over a profile, chooses what the benchmark says for the host's distribution,
    and lists everything that is wrong with the result.
options:
  _input:
    description: The folder that holds the profiles, one YAML file each.
    type: path
    required: true
  chosen:
    description: The operator's variables by their names without C(session_policy_); V(null) means the profile's value.
    type: dict
    required: true
  facts:
    description: What M(sessionops.policy.policy_info) returned; without it nothing that depends on the host is judged.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what is wrong with a policy
  ansible.builtin.debug:
    msg: "{{ (folder | sessionops.policy.resolve_policy({'profile': 'cis', 'idle_timeout': '10m'})).errors }}"
  vars:
    folder: "{{ role_path }}/vars/profiles"
"""

RETURN = r"""
_value:
  description: The resolved policy.
  type: dict
  contains:
    values:
      description: What each setting is to be, in seconds, counts or texts; V(null) leaves the host's own value alone.
      type: dict
    layers:
      description: The layers that enforce it.
      type: list
      elements: str
    state:
      description: Whether the policy is to be there or taken away.
      type: str
    exempt_users:
      description: Who is exempt.
      type: list
      elements: str
    exempt_groups:
      description: Whose members are exempt.
      type: list
      elements: str
    confirm_within:
      version_added: 1.0.0
      description: Seconds in which a change of sshd must be confirmed; 0 if it need not.
      type: int
    protect:
      version_added: 1.0.0
      description: The work that protects a session from being ended.
      type: list
      elements: str
    rules:
      description: Identifiers of rules by setting and benchmark.
      type: dict
    sshd_main_file:
      description: Whether the values belong into sshd's main file too, for scanners that read nothing else.
      type: bool
    scanned:
      version_added: 1.0.0
      description: Whether scanners look for the profile's values.
      type: bool
    logind_main_file:
      description: The same for C(logind.conf).
      type: bool
    errors:
      description: Sentences for what is wrong; a policy with any must not be applied.
      type: list
      elements: str
    warnings:
      description: Sentences for what is doubtful.
      type: list
      elements: str
"""


def resolve_policy(folder: str, chosen: dict, facts: dict | None = None) -> dict:
    return dataclasses.asdict(resolve(read_profiles(folder), chosen, facts))


class FilterModule:
    def filters(self) -> dict:
        return {"resolve_policy": resolve_policy}
