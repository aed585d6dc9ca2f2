# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.sessionops.policy.plugins.module_utils._engine.putty import registry

DOCUMENTATION = r"""
name: putty_registry
author: The sessionops.policy authors (@sessionops)
version_added: 1.0.0
short_description: A .reg file that sets the keepalives of PuTTY's saved sessions on Windows
description:
  - Gives the text of a file that C(regedit /s FILE) imports for the user who runs it. Keys that it does not name stay
    as they are.
  - Names are escaped as PuTTY does on Windows. One that is not plain ASCII is refused, because its key depends on the
    code page of each Windows.
options:
  _input:
    description: The names of the sessions as PuTTY shows them. V(Default Settings) is what new ones begin with.
    type: list
    elements: str
    required: true
  keepalive:
    description: Seconds of silence after which PuTTY says something; 0 is off.
    type: int
    required: true
  tcp_keepalives:
    description: Whether the kernel probes the peer; V(null) leaves that as it is.
    type: bool
"""

EXAMPLES = r"""
- name: Write a file for the Windows fleet
  ansible.builtin.copy:
    dest: keepalive.reg
    content: "{{ ['Default Settings', 'jump host'] | sessionops.policy.putty_registry(30) }}"
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The text, with the line ends that Windows wants.
  type: str
"""


def putty_registry(names: list, keepalive: int, tcp_keepalives: bool | None = None) -> str:
    try:
        return registry(names, keepalive, tcp_keepalives)
    except ValueError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    def filters(self) -> dict:
        return {"putty_registry": putty_registry}
