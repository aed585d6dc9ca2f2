#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: session_info
short_description: Every login session with an honest idle time, and what would be lost by ending it
version_added: 0.1.0
description:
  - Lists every way a person is in on a Linux host as one kind of thing, a session, whether it is an ssh terminal, a
    command over ssh, a file transfer, a forwarded port, several of these over one connection, mosh, a console or a
    graphical login.
  - Merges what C(/proc), logind and utmp know, says which of them saw a session, and lists where they disagree.
  - Judges each session by the thresholds given, and says what work in it is worth protecting. It ends nothing.
  - A value that cannot be known is null. It is never guessed, and never makes a session stale.
notes:
  - Run it as root (or with become). As another user it says in a warning what it could not see.
  - Programs are named, their arguments are not returned, because they can hold passwords. The files that editors and
    transfers have open are.
  - Text that others chose (commands, paths, names) is returned on one line, with each control character or invalid
    byte as an escape such as V(\\x1b).
extends_documentation_fragment:
  - sessionops.policy.attributes
  - sessionops.policy.attributes.info_module
author:
  - The sessionops.policy authors (@sessionops)
seealso:
  - module: sessionops.policy.session_terminate
  - module: sessionops.policy.leftover_remove
options:
  gather_subset:
    description:
      - What to look for.
      - V(leftovers) adds what sessions left behind, V(limits) how near the host is to what it lets in.
    type: list
    elements: str
    choices: [sessions, leftovers, limits]
    default: [sessions]
  users:
    description: Only sessions of these users. All filters that are set have to match.
    type: list
    elements: str
    default: []
  groups:
    description: Only sessions of members of these groups.
    type: list
    elements: str
    default: []
  ttys:
    description: Only sessions on these terminals, such as V(pts/3) or V(/dev/pts/3).
    type: list
    elements: str
    default: []
  kinds:
    description:
      - Only sessions of these kinds.
      - V(exec) is a command over ssh without a terminal, V(sftp) a file transfer over ssh (sftp, scp or rsync),
        V(forward) a connection without a channel (C(ssh -N)).
    type: list
    elements: str
    choices: [terminal, exec, sftp, forward, mosh, console, graphical]
    default: []
  remote_hosts:
    description: Only sessions from these addresses or networks, such as V(192.0.2.7) or V(2001:db8::/32).
    type: list
    elements: str
    default: []
  ids:
    description: Only these sessions, by RV(sessions[].id) or by logind's id.
    type: list
    elements: str
    default: []
  idle_over:
    description: A session with a longer idle time is stale. Seconds, or for example V(90s), V(15m), V(1h30m), V(2d).
    type: str
  age_over:
    description: A session that began longer ago is stale. Written like O(idle_over).
    type: str
  unresponsive:
    description:
      - A session whose client has stopped taking what is sent to it is stale.
      - Only two looks can tell, so O(sample) must be set, too.
    type: bool
    default: false
  closing:
    description:
      - A session that should have ended and does not is stale, for example one that a background job holds open.
      - A live mosh is not closing, whatever logind calls it, nor is what a tmux or screen keeps open.
    type: bool
    default: false
  protect:
    description:
      - Work that makes a session protected.
      - V(jobs) are background and stopped jobs, V(locks) file locks that a process of the session holds.
    type: list
    elements: str
    choices: [editors, transfers, databases, package_managers, jobs, multiplexers, locks]
    default: [editors, transfers, databases, package_managers, jobs, multiplexers]
  exclude_users:
    description: Sessions of these users are always protected.
    type: list
    elements: str
    default: []
  exclude_groups:
    description: Sessions of members of these groups are always protected.
    type: list
    elements: str
    default: []
  leftovers:
    version_added: 1.0.0
    description:
      - What M(sessionops.policy.leftover_remove) would be asked, so that RV(leftovers) tells what it would take and why
        it would not take the rest. O(users), O(protect), O(exclude_users) and O(exclude_groups) count for it, too.
    type: dict
    suboptions:
      kinds:
        description: Leftovers of these kinds.
        type: list
        elements: str
        choices: [closing_session, orphan_process, detached_multiplexer, stale_lock]
        default: [closing_session, orphan_process, detached_multiplexer, stale_lock]
      older_than:
        description: Their least age. Written like O(idle_over).
        type: str
        default: 1d
      intent:
        description: Whether what shows that it is meant to stay is kept.
        type: str
        choices: [keep, ignore]
        default: keep
      lock_patterns:
        description: Further stale locks.
        type: list
        elements: str
        default: []
  sample:
    description:
      - Seconds between two looks. V(0) is one look.
      - Two looks tell what moves in sessions without a terminal, the rate of transfers, and whether a client still
        takes what is sent to it. The idle time of a session in which nothing moved is then at least these seconds.
    type: float
    default: 0.0
"""

EXAMPLES = r"""
- name: Look who is on
  sessionops.policy.session_info:
  register: seen

- name: Show it as a table
  ansible.builtin.debug:
    msg: "{{ table.splitlines() }}"
  vars:
    table: |-
      {% for s in seen.sessions %}
      {{ '%-10s %-9s %-15s %-7s %6s  %s' | format(s.user, s.kind, s.remote_host or '-', s.ttys | join(','),
         s.idle if s.idle is not none else '?', s.work.foreground | join(' ')) }}
      {% endfor %}

- name: Look for sessions idle over 2 h
  sessionops.policy.session_info:
    idle_over: 2h
  register: seen

- name: Show those with nothing open in them
  ansible.builtin.debug:
    msg: "{{ seen.sessions | selectattr('stale') | rejectattr('protected') | map(attribute='id') | list }}"

- name: Which transfers stand still, and which clients are frozen
  sessionops.policy.session_info:
    unresponsive: true
    sample: 5

- name: What sessions left behind, and how near the host is to its limits
  sessionops.policy.session_info:
    gather_subset: [sessions, leftovers, limits]
    leftovers:
      older_than: 12h
"""

RETURN = r"""
sessions:
  description: One entry for each way a person is in. A value that could not be known is null.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Boot id, pid and start time of the leader. The same for the life of the session and never again.
      type: str
      sample: 7b0a0c4e-7f0c-4f0e-9c3c-2b1f1f8f7f11-1234-567890
    logind_id:
      description: Logind's id of it.
      type: str
    audit_id:
      description: The kernel's audit session.
      type: int
    user:
      description: Who logged in, whatever su or sudo made of them since.
      type: str
    uid:
      description: Their uid.
      type: int
    kind:
      description: V(terminal), V(exec), V(sftp), V(forward), V(mosh), V(console) or V(graphical).
      type: str
    class:
      description: Logind's class. Null where logind was not there.
      type: str
    state:
      description: V(active), or as logind says; V(closing) where it should have ended and something is left.
      type: str
    seen_by:
      description: Which of V(proc), V(logind) and V(utmp) know it.
      type: list
      elements: str
    service:
      description: What let the person in, such as V(sshd).
      type: str
    remote_host:
      description: The address they come from.
      type: str
    remote_port:
      description: The port there.
      type: int
    ttys:
      description: The terminals they type at. A connection can have several.
      type: list
      elements: str
    channels:
      description: What an ssh connection is used for now, each as C(kind), C(pid), C(tty), C(command) and C(idle).
      type: list
      elements: dict
    login_at:
      description: When it began, in UTC.
      type: str
      sample: "2026-01-31T08:15:00Z"
    age:
      description: Seconds since then.
      type: int
    idle:
      description: Seconds since something was typed or moved.
      type: int
    idle_signal:
      description:
        - Where RV(sessions[].idle) comes from.
        - V(tty_input) is the last read from a terminal, to 8 seconds. Keepalives do not touch it.
        - V(process_io) is whether its processes read, wrote or computed between two looks.
        - V(socket) is the last byte on its connections, which a keepalive resets; the true idle time may be longer.
        - V(logind_hint) is what a graphical session told logind. V(none) goes with a null.
      type: str
    output_idle:
      description: Seconds since something was written to its terminals.
      type: int
    peer_unresponsive:
      description: Whether the client takes nothing of what is sent to it. Null where one look could not tell.
      type: bool
    work:
      description:
        - What would be lost or hurt by ending it.
        - C(foreground) are the programs at the front of its terminals and channels. C(jobs), C(editors), C(transfers),
          C(database_clients), C(package_managers), C(multiplexers) and C(locks) are lists of dictionaries with
          the pid of each, its files, the swap of editors, the bytes a second of transfers (with O(sample)).
        - The swap of an emacs are its lock C(.#FILE) and its autosave C(#FILE#), there once a file is changed.
        - C(jobs) hold what runs without a terminal, too, such as a server that detached itself; C(executable) is the
          file that each runs.
        - C(known_by) says how a program was recognised. V(executable) is the installed file, V(content) a copy of it,
          V(path) a file of that name elsewhere, V(script) an interpreter at a script of that name, and V(name) a
          process that calls itself so while it runs the file in C(executable).
      type: dict
    troubles:
      description: >-
        What people complain about, as C(name), C(why) and C(pids). V(closing) does not end because something holds it,
        V(peer_unresponsive) has a frozen client, V(stopped_terminal) was stopped by Ctrl-S.
      type: list
      elements: dict
    is_self:
      description: Whether this very task runs in it.
      type: bool
    leader:
      description: The process that stands for it, as C(pid) and C(start_time) (ticks after boot).
      type: dict
    processes:
      description: All of its processes, each as C(pid), C(start_time), C(uid), C(tty), C(command) and C(state).
      type: list
      elements: dict
    stale:
      description: Whether a threshold is exceeded.
      type: bool
    stale_because:
      description: Which, of V(idle), V(age), V(unresponsive) and V(closing).
      type: list
      elements: str
    protected:
      description: Whether something speaks against ending it.
      type: bool
    protected_because:
      description: The names of O(protect), V(class) (no person's session), V(excluded) or V(self).
      type: list
      elements: str
summary:
  description: Counts of the sessions returned.
  returned: always
  type: dict
  sample: {total: 3, by_kind: {terminal: 3}, by_user: {alice: 3}, stale: 1, protected: 0, stale_unprotected: 1}
disagreements:
  description: What one source says and another does not, as sentences.
  returned: always
  type: list
  elements: str
self_known_by:
  description: What told which session is our own (V(ancestors), V(cgroup), V(audit), V(peer)). Empty if nothing did.
  returned: always
  type: list
  elements: str
leftovers:
  description:
    - What sessions left behind, with the fields of the RV(ignore:leftovers) of
      M(sessionops.policy.leftover_remove) that do not tell what became of it.
    - What has nothing in C(skipped_because) is what that module takes when it is asked the same with O(leftovers).
  returned: if O(gather_subset) has V(leftovers)
  type: list
  elements: dict
limits:
  description:
    - C(max_sessions) and C(max_startups) of sshd, C(unauthenticated) connections now, logind's C(sessions_max) and
      C(sessions_now), and for each of C(users) the C(logins) now and their C(maxlogins).
  returned: if O(gather_subset) has V(limits)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import duration_option
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_leftovers import (
    decide,
    read_leftover_wish,
    shown,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import (
    Filters,
    Protection,
    Thresholds,
    judge,
    matches,
    parse_networks,
    summarize,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import (
    KINDS,
    LEFTOVER_KINDS,
    WORK,
    plain,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.accounts import groups_of
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.draft import Roots
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.sessions import observe

# The options that count for sessions and for leftovers alike.
_ALSO_OF_LEFTOVERS = ("protect", "exclude_users", "exclude_groups")


def main():
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "gather_subset": {
                "type": "list",
                "elements": "str",
                "choices": ["sessions", "leftovers", "limits"],
                "default": ["sessions"],
            },
            "users": names,
            "groups": names,
            "ttys": names,
            "kinds": dict(names, choices=list(KINDS)),
            "remote_hosts": names,
            "ids": names,
            "idle_over": {"type": "str"},
            "age_over": {"type": "str"},
            "unresponsive": {"type": "bool", "default": False},
            "closing": {"type": "bool", "default": False},
            "protect": dict(names, choices=list(WORK), default=[name for name in WORK if name != "locks"]),
            "exclude_users": names,
            "exclude_groups": names,
            "leftovers": {
                "type": "dict",
                "options": {
                    "kinds": dict(names, choices=list(LEFTOVER_KINDS), default=list(LEFTOVER_KINDS)),
                    "older_than": {"type": "str", "default": "1d"},
                    "intent": {"type": "str", "choices": ["keep", "ignore"], "default": "keep"},
                    "lock_patterns": names,
                },
            },
            "sample": {"type": "float", "default": 0.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        if not 0 <= params["sample"] <= 300:
            raise ValueError("sample: write a number of seconds from 0 to 300")
        if params["unresponsive"] and not params["sample"]:
            raise ValueError("unresponsive: one look cannot tell; set sample, too, for example to 5")
        thresholds = Thresholds(
            duration_option(params, "idle_over"),
            duration_option(params, "age_over"),
            params["unresponsive"],
            params["closing"],
        )
        lists = (params[name] or None for name in ("users", "groups", "ttys", "kinds", "ids"))
        filters = Filters(*lists, parse_networks(params["remote_hosts"]) or None)
        wish = None
        if "leftovers" in params["gather_subset"]:
            asked = params["leftovers"] or {}
            also = {name: params[name] for name in _ALSO_OF_LEFTOVERS}
            wish = read_leftover_wish({**asked, **also, "users": params["users"] or None})
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    protection = Protection(params["protect"], params["exclude_users"], params["exclude_groups"])
    subset = params["gather_subset"]
    seen = observe(Roots(), params["sample"], "leftovers" in subset, wish.lock_patterns if wish else ())
    sessions = [
        judge(session, thresholds, protection, groups_of)
        for session in seen.sessions
        if matches(session, filters, groups_of)
    ]
    result = {
        "sessions": plain(sessions),
        "summary": summarize(sessions),
        "disagreements": list(seen.disagreements),
        "self_known_by": list(seen.self_known_by),
    }
    if wish:
        result["leftovers"] = [shown(decision) for decision in decide(seen.leftovers, wish, groups_of)]
    if "limits" in subset:
        # Few ask for it, and each module costs a task a millisecond or two to compile.
        from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.login_limits import login_limits

        result["limits"] = login_limits("/", Roots().run, seen, groups_of)
    for sentence in seen.warnings:
        module.warn(sentence)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
