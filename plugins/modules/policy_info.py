#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_info
short_description: What enforces session timeouts on this host, what is in force, and who overrides it
version_added: 0.1.0
author:
  - The sessionops.policy authors (@sessionops)
description:
  - In one call, what a host can do about idle and dead login sessions, and what is in force now, every value with the
    file and line that it comes from.
  - C(sshd) is asked for its effective configuration, every kind of shell is started as a login would start it, and
    C(systemd-logind) is asked over D-Bus. Files are read to say where a value comes from, not to guess it.
  - With O(wanted), the values in force are judged against a policy.
  - Changes nothing, in check mode or out of it. Without root it returns what it can see, and says in
    its warnings what it could not.
extends_documentation_fragment:
  - sessionops.policy.attributes
options:
  users:
    description:
      - Accounts for which the settings in force are to be asked too (C(sshd -T -C user=...), and a login shell as that
        account).
    type: list
    elements: str
    default: []
  wanted:
    description:
      - A policy with plain values (seconds, counts) under the names of the umbrella role's variables without their
        prefix, for example V(client_alive_interval). What is absent or null is not judged.
      - V(layers) names the layers to judge, of V(sshd), V(shell) and V(logind).
      - V(exempt_users) and V(exempt_groups) are asked for as O(users) are.
      - V(rules) maps a setting to its rule ids by benchmark.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: What is in force
  sessionops.policy.policy_info:
  register: info

- name: What is in force for one account
  sessionops.policy.policy_info:
    users: [deploy]

- name: Judge a host
  sessionops.policy.policy_info:
    wanted:
      layers: [sshd, shell]
      idle_timeout: 900
      client_alive_interval: 300
      client_alive_count_max: 3
"""

RETURN = r"""
host:
  description: The distribution, its init, and the tools that matter for sessions.
  returned: always
  type: dict
  sample: {family: debian, id: debian, init: systemd, logind: true, systemd_version: 252, utmp: true}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_policy import judge_policy
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import observe_policy
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree


def main():
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "default": []},
            "wanted": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    wanted = module.params["wanted"]
    users = [*module.params["users"], *(wanted.get("exempt_users") or [])]
    facts = observe_policy(Tree(), list(dict.fromkeys(users)), wanted.get("exempt_groups") or [])
    facts["findings"] = judge_policy(wanted, facts)
    for sentence in facts.pop("warnings"):
        module.warn(sentence)
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
