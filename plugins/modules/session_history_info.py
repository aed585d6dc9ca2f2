#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: session_history_info
short_description: Say why sessions ended and logins were refused
version_added: 1.0.0
description:
  - Returns the sessions that ended in a time window, and the logins that a limit or a broken policy refused, newest
    first, each with its cause and the line of a log that shows it.
  - The journal is read where there is one, and of it only the window and what the sessions in it began with. Elsewhere
    C(auth.log), C(secure) or C(messages) are read with their rotations. wtmp, wtmpdb, logind's lines and this
    collection's own are used where they are.
  - "Nothing is guessed. Where the logs leave a choice, RV(sessions[].ended_by) is V(unknown) and
    RV(sessions[].could_be) names the choice. What was inferred is marked, and RV(sessions[].how) says from what."
  - "A line counts only if the process that the journal saw write it may say such a thing: root's sshd, the sshd that
    serves this very session, logind, systemd. What anybody can write with C(logger) counts for nothing. Plain log files
    do not say who wrote a line, so there every line may be forged, and RV(sessions[].evidence) says so."
  - Logins that failed for a wrong password or key are no part of this.
author:
  - The sessionops.policy authors (@sessionops)
extends_documentation_fragment:
  - sessionops.policy.attributes
  - sessionops.policy.attributes.info_module
notes:
  - "C(LogLevel VERBOSE) in C(sshd_config) has sshd say far more. Below it OpenSSH before 9.8 says nothing when a client
    just goes away, when a connection is reset, or when a process of sshd is killed, and no release names the end by
    C(ChannelTimeout)."
  - Needs root to see the lines of all users.
options:
  since:
    description:
      - Where the window begins. A moment in ISO 8601 (without an offset it is UTC), or how long ago, such as V(24h).
    type: str
    default: 24h
  until:
    description:
      - Where the window ends, written like O(since). The default is now.
    type: str
    default: 0s
  users:
    description: Only sessions of these users.
    type: list
    elements: str
    default: []
  remote_hosts:
    description: Only sessions from these addresses or networks, such as V(192.0.2.0/24).
    type: list
    elements: str
    default: []
  ended_by:
    description: Only these causes.
    type: list
    elements: str
    choices:
      - exit
      - client_closed
      - connection_reset
      - unresponsive_peer
      - idle_channel
      - unused_connection
      - idle_shell
      - logind_idle
      - reaper
      - session_terminate
      - killed
      - shutdown
      - login_grace
      - max_startups
      - max_sessions
      - max_logins
      - policy_lockout
      - source_penalty
      - unknown
    default: []
  limit:
    description: At most this many sessions, the newest. V(0) is all of them.
    type: int
    default: 100
"""

EXAMPLES = r"""
- name: Look why sessions ended today
  sessionops.policy.session_history_info:
  register: history

- name: Show it as a table
  ansible.builtin.debug:
    msg: "{{ table.splitlines() }}"
  vars:
    table: |-
      {% for s in history.sessions %}
      {{ '%-20s %-10s %-15s %-17s %s' | format(s.ended_at, s.user or '?', s.remote_host or '-', s.ended_by, s.how) }}
      {% endfor %}

- name: Look whom a policy cut in the last week
  sessionops.policy.session_history_info:
    since: 7d
    ended_by: [unresponsive_peer, idle_channel, unused_connection, idle_shell, logind_idle, reaper]

- name: Look for logins that the configuration of sshd refuses
  sessionops.policy.session_history_info:
    ended_by: [policy_lockout, max_startups, max_logins]
"""

RETURN = r"""
sessions:
  description: What ended, newest first. A value that could not be known is null.
  returned: always
  type: list
  elements: dict
  contains:
    user:
      description: Who was logged in.
      type: str
    uid:
      description: Their uid.
      type: int
    remote_host:
      description: The address that they came from.
      type: str
    remote_port:
      description: The port there.
      type: int
    kind:
      description: V(terminal), V(exec), V(sftp), V(forward), V(mosh) or V(console).
      type: str
    service:
      description: What let them in, such as V(sshd).
      type: str
    tty:
      description: Their terminal.
      type: str
    logind_id:
      description: Logind's id of the session.
      type: str
    audit_id:
      description: The kernel's audit session.
      type: int
    leader:
      description: The pid of the process that stood for it.
      type: int
    began_at:
      description: When it began, in UTC.
      type: str
      sample: "2026-01-31T08:15:00Z"
    ended_at:
      description: When it ended or was refused, in UTC.
      type: str
      sample: "2026-01-31T09:02:11Z"
    duration:
      description: Seconds from one to the other.
      type: int
    refused:
      description: Whether the login was refused, or a further session over a connection that went on.
      type: bool
    ended_by:
      description:
        - V(exit) is a shell or command that ended, and a client that said goodbye.
        - V(client_closed) is a client that closed the connection with the shell still there.
        - V(connection_reset) was reset on its way or by the client.
        - V(unresponsive_peer) did not answer sshd (C(ClientAliveInterval)) or TCP.
        - V(idle_channel) is C(ChannelTimeout), V(unused_connection) is C(UnusedConnectionTimeout), V(idle_shell) is
          C(TMOUT), V(logind_idle) is C(StopIdleSessionSec).
        - V(reaper) and V(session_terminate) are this collection's.
        - V(killed) is a signal to sshd's processes, C(loginctl terminate-session), or memory that ran out.
        - V(shutdown) is the host going down.
        - V(login_grace) (C(LoginGraceTime)), V(max_startups), V(max_sessions), V(max_logins) (C(maxlogins)) and
          V(source_penalty) (C(PerSourcePenalties)) are refused.
        - V(policy_lockout) is an sshd that dies on its own configuration when somebody logs in.
        - V(unknown) is what the logs do not tell.
      type: str
    could_be:
      description: With V(unknown), the causes between which nothing decides.
      type: list
      elements: str
    inferred:
      description: Whether no line names the cause and it follows from others.
      type: bool
    how:
      description: What the cause was read or inferred from, as a sentence.
      type: str
    because:
      description: With V(reaper) and V(session_terminate), what made it stale.
      type: list
      elements: str
    reason:
      description: With those, what the operator gave as the reason.
      type: str
    survivors:
      description: With those, what was left running, each as C(command:pid).
      type: list
      elements: str
    preserved:
      description: With those, the files in which editors kept what was not saved.
      type: list
      elements: str
    evidence:
      description:
        - The C(line) that decided, its C(source) (V(journal) or a file), C(cursor) (C(journalctl --cursor), or the
          file and the offset in it), C(at), and the C(identifier), C(pid) and C(uid) that wrote it.
        - C(trusted) is whether only that program, or root, can have written it.
      type: dict
summary:
  description: How many sessions by cause, the most frequent first; O(limit) does not count here.
  returned: always
  type: dict
  sample: {exit: 12, unresponsive_peer: 3, reaper: 1}
sources:
  description:
    - Where was looked, each as C(name) (V(journal), V(files), V(wtmp), V(wtmpdb), V(logind), V(own)), C(lines) (null
      where it could not be read), C(why) and C(cursor), which is the last line read.
  returned: always
  type: list
  elements: dict
since:
  description: The beginning of the window, in UTC.
  returned: always
  type: str
until:
  description: Its end.
  returned: always
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import parse_moment
from ansible_collections.sessionops.policy.plugins.module_utils._engine.history import CAUSES, as_dict
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_history import Query
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import parse_networks
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import iso, plain
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.history import Places, observe


def query_of(params, now):
    moments = {}
    for name in ("since", "until"):
        try:
            moments[name] = parse_moment(params[name], now)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None
    if moments["since"] >= moments["until"]:
        raise ValueError("since is not before until: the window is empty")
    if params["limit"] < 0:
        raise ValueError("limit: write 0 for all, or how many sessions at most")
    networks = parse_networks(params["remote_hosts"])
    return Query(moments["since"], moments["until"], params["users"], networks, params["ended_by"], params["limit"])


def main():
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "since": {"type": "str", "default": "24h"},
            "until": {"type": "str", "default": "0s"},
            "users": names,
            "remote_hosts": names,
            "ended_by": dict(names, choices=list(CAUSES)),
            "limit": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    try:
        query = query_of(module.params, time.time())
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    seen = observe(Places(), query)
    for sentence in seen.warnings:
        module.warn(sentence)
    module.exit_json(
        changed=False,
        sessions=[as_dict(ending) for ending in seen.endings],
        summary=dict(sorted(seen.counts.items(), key=lambda entry: (-entry[1], entry[0]))),
        sources=plain(seen.sources),
        since=iso(query.since),
        until=iso(query.until),
    )


if __name__ == "__main__":
    main()
