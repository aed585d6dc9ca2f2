#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: putty_session
short_description: Keepalives and other settings of a saved session of PuTTY on Unix
version_added: 1.0.0
author:
  - The sessionops.policy authors (@sessionops)
description:
  - Sets keys of a saved session of PuTTY, plink, pscp or psftp in a user's home. What is not named stays as it is, and
    so does the order of the lines.
  - The file is C(~/.config/putty/sessions/NAME) where PuTTY's directory of the XDG base directories is there, else
    C(~/.putty/sessions/NAME), with the name escaped as PuTTY escapes it.
  - All of it is done by a process that has become the user for good, so that a symbolic link in their home leads no
    further than they could go themselves. A session file that is a link stays one.
  - A PuTTY that has the session open in its dialogue writes over it when it saves.
extends_documentation_fragment:
  - sessionops.policy.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - The session as PuTTY shows it. V(Default Settings) is what new sessions begin with, and what holds for a
        connection to a bare host name. Sessions that are saved already do not look there.
    type: str
    default: Default Settings
  user:
    description: Whose session it is. Without it, the account that the module runs as.
    type: str
  state:
    description:
      - V(present) sets what is asked for, and makes the session if there is none of that name.
      - V(absent) removes the session. With O(keepalive), O(tcp_keepalives) or O(settings) it only takes the lines of
        those keys away, whatever their values, so that PuTTY's defaults hold, and the file when nothing is left in it.
    type: str
    choices: [present, absent]
    default: present
  keepalive:
    description:
      - Time of silence after which PuTTY sends the server a message that means nothing. Whole seconds or texts like
        V(90s) or V(1m30s); 0 is off.
      - PuTTY keeps it in the two keys C(PingInterval), whole minutes, and C(PingIntervalSecs), the rest.
    type: raw
  tcp_keepalives:
    description: Whether the kernel probes the peer (C(TCPKeepalives)). Most systems begin after two hours of silence.
    type: bool
  settings:
    description:
      - Further keys and their values as they stand in the file, for example V(HostName). V(null) takes a key away.
    type: dict
    default: {}
  directory:
    description:
      - Where PuTTY keeps its files, for users who set E(XDG_CONFIG_HOME) or E(PUTTYDIR) in a place that only their
        shell knows.
    type: str
"""

EXAMPLES = r"""
- name: Have new connections of alice say something every half minute
  sessionops.policy.putty_session:
    user: alice
    keepalive: 30s

- name: Set up a session
  sessionops.policy.putty_session:
    user: alice
    name: Jump host (Vienna)
    keepalive: 1m30s
    tcp_keepalives: true
    settings:
      HostName: jump.example.org
      UserName: alice

- name: Take the keepalives away again, and leave the rest
  sessionops.policy.putty_session:
    user: alice
    name: Jump host (Vienna)
    keepalive: 0
    tcp_keepalives: false
    state: absent
"""

RETURN = r"""
file:
  description: The file of the session.
  returned: success
  type: str
  sample: /home/alice/.putty/sessions/Default%20Settings
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._engine.as_user import as_user, find_account
from ansible_collections.sessionops.policy.plugins.module_utils._engine.files import Refused
from ansible_collections.sessionops.policy.plugins.module_utils._engine.putty import (
    DEFAULT,
    Wish,
    bring,
    unix_name,
    wanted_settings,
)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": DEFAULT},
            "user": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "keepalive": {"type": "raw"},
            "tcp_keepalives": {"type": "bool"},
            "settings": {"type": "dict", "default": {}},
            # Not a path: ~ and variables would be expanded as root's.
            "directory": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        settings = wanted_settings(given["keepalive"], given["tcp_keepalives"], given["settings"])
        if given["directory"] is not None and not given["directory"].startswith("/"):
            raise Refused(f"directory: {given['directory']!r} is no absolute path")
        unix_name(given["name"])
        account = find_account(given["user"])
        wish = Wish(given["name"], given["state"] == "present", settings, given["directory"])
        done = as_user(account, lambda: bring(wish, account.home, module.check_mode))
    except Refused as problem:
        module.fail_json(msg=str(problem))
    result = {"changed": done["changed"], "file": done["file"]}
    if module._diff:
        result["diff"] = {
            "before_header": done["file"] + ("" if done["before"] is not None else " (absent)"),
            "after_header": done["file"] + ("" if done["after"] is not None else " (absent)"),
            "before": done["before"] or "",
            "after": done["after"] or "",
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
