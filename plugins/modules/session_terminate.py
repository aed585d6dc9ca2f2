#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: session_terminate
short_description: End stale sessions without losing anyone's work
version_added: 1.0.0
description:
  - Ends the login sessions that its selectors name, of every kind that M(sessionops.policy.session_info) tells apart.
  - Warns at the terminals first and looks again after O(warn_grace). Who came back to work is left alone.
  - Then asks in the order in which least is lost. C(HUP) goes to the shells, C(TERM) to the session's leader (of ssh
    the privileged half of its sshd), C(TERM) to what is left, and C(KILL) only with O(force). A mosh gets its own
    C(USR1) first. C(CONT) follows each, so that what was stopped hears it.
  - What is meant to outlive a session (nohup, setsid, disown, tmux, screen) gets no signal and is named in
    RV(sessions[].survivors).
  - Looks once more at the end. A session is V(terminated) only if it is gone by then.
  - Never ends the session it runs in, a session that is no person's, or one of another PID namespace (containers).
    A tmux, a screen or a mosh that logind calls C(closing) is not closing here.
notes:
  - Run it as root (or with become).
  - Each session has its own claim below C(/run/session-policy/ending), so that of several runs at once one alone ends
    it. What a run that was killed had begun, the next run that names the session finishes.
  - Each ending is one line in the journal, or in syslog, under the identifier C(session_terminate).
  - Of a connection with several terminals, O(ttys) ends those that it names and leaves the others.
extends_documentation_fragment:
  - sessionops.policy.attributes
attributes:
  check_mode:
    support: full
    details: [It looks once, and so cannot tell who would come back after a warning.]
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The sessionops.policy authors (@sessionops)
options:
  idle_over:
    description:
      - Sessions with a longer idle time. Seconds, or for example V(90s), V(15m), V(1h30m), V(2d).
      - A terminal's idle time is known to 8 seconds. An unknown one is never over it.
      - At least one selector is required, this one or any down to O(ids).
    type: str
  age_over:
    description: Sessions that began longer ago. Written like O(idle_over).
    type: str
  unresponsive:
    description: Sessions whose client takes nothing of what is sent to it.
    type: bool
    default: false
  closing:
    description: Sessions that should have ended and do not, for example because a background job holds them open.
    type: bool
    default: false
  users:
    description: Sessions of these users.
    type: list
    elements: str
    default: []
  groups:
    description: Sessions of members of these groups.
    type: list
    elements: str
    default: []
  ttys:
    description: Sessions on these terminals, such as V(pts/3) or V(/dev/pts/3).
    type: list
    elements: str
    default: []
  kinds:
    description: Sessions of these kinds, as M(sessionops.policy.session_info) names them.
    type: list
    elements: str
    choices: [terminal, exec, sftp, forward, mosh, console, graphical]
    default: []
  remote_hosts:
    description: Sessions from these addresses or networks, such as V(192.0.2.7) or V(2001:db8::/32).
    type: list
    elements: str
    default: []
  ids:
    description: These sessions, by the C(id) or C(logind_id) of M(sessionops.policy.session_info).
    type: list
    elements: str
    default: []
  match:
    description:
      - Whether a session has to be over V(all) of the thresholds O(idle_over), O(age_over), O(unresponsive) and
        O(closing) that are set, or over V(any) of them. All other selectors narrow in either case.
    type: str
    choices: [all, any]
    default: all
  exclude_users:
    description: Leave sessions of these users alone, whatever O(on_protected) says.
    type: list
    elements: str
    default: []
  exclude_groups:
    description: Leave sessions of members of these groups alone.
    type: list
    elements: str
    default: []
  exclude_ttys:
    description: Leave sessions on these terminals alone.
    type: list
    elements: str
    default: []
  exclude_remote_hosts:
    description: Leave sessions from these addresses or networks alone.
    type: list
    elements: str
    default: []
  protect:
    description: Work that protects a session. V(jobs) are background and stopped jobs.
    type: list
    elements: str
    choices: [editors, transfers, databases, package_managers, jobs, multiplexers, locks]
    default: [editors, transfers, databases, package_managers, jobs, multiplexers]
  on_protected:
    description:
      - What becomes of a session with such work. V(skip) leaves it alone, V(warn) tells the person and leaves it alone,
        V(terminate) ends it all the same.
    type: str
    choices: [skip, warn, terminate]
    default: skip
  min_age:
    description: Leave sessions alone that are younger than this. Written like O(idle_over).
    type: str
    default: 60s
  protect_connection_user:
    description:
      - Which sessions of the account that this task connected as are left alone, besides its own.
      - Unset, those without a terminal, because another controller's connection that waits for its next task looks
        just like it. V(true) spares all of them, V(false) none.
    type: bool
  allow_unknown_self:
    description:
      - Whether to go on where nothing tells which session this task runs in, and it may have come by ssh (async with
        become on a host without logind, for example). Otherwise it refuses.
    type: bool
    default: false
  warn_message:
    description: What the person is told, instead of this module's own words. Control characters become escapes.
    type: str
  warn_grace:
    description:
      - How long people have after the warning. Written like O(idle_over). V(0) waits for nobody, and warns only with
        O(warn_message).
      - Something typed in this time calls the ending off, unless O(age_over) selected the session.
    type: str
    default: 60s
  hup_grace:
    description: How long shells have to end after C(HUP).
    type: str
    default: 5s
  term_grace:
    description: How long processes have to end after each C(TERM).
    type: str
    default: 10s
  force:
    description: Whether what is left after O(term_grace) is killed. Unsaved text may be lost by that.
    type: bool
    default: false
  max_terminate:
    description:
      - How many sessions may be ended at most, as a count or as a percentage of all sessions of the host, rounded up.
      - If it were more, nothing is touched and the task fails.
    type: str
  reason:
    description: Why, in the operator's words, for the log and for the people warned.
    type: str
  sample:
    description:
      - Seconds between two looks, which alone tell what moves in sessions without a terminal. V(0) is one look.
      - The default is 0, and 5 where O(unresponsive=true).
    type: float
seealso:
  - module: sessionops.policy.session_info
"""

EXAMPLES = r"""
- name: See who would be ended, and why the others would not
  sessionops.policy.session_terminate:
    idle_over: 2h
  check_mode: true
  register: plan

- name: End what has been idle for two hours and has nothing open in it
  sessionops.policy.session_terminate:
    idle_over: 2h
    max_terminate: 20%

- name: End one stuck session now, by the id that session_info gave
  sessionops.policy.session_terminate:
    ids: ["{{ stuck.id }}"]
    warn_grace: 0
    on_protected: terminate
    reason: frozen since Friday, OPS-1234

- name: End every session of somebody who has left, but let transfers finish
  sessionops.policy.session_terminate:
    users: [mallory]
    protect: [transfers]
    warn_grace: 0
    force: true
"""

RETURN = r"""
sessions:
  description:
    - The sessions that the selectors name, each with the fields of M(sessionops.policy.session_info) and with what
      became of it.
  returned: always
  type: list
  elements: dict
  contains:
    outcome:
      description:
        - V(terminated), or V(would_terminate) in check mode. V(skipped) with RV(sessions[].skipped_because). V(gone),
          it ended by itself. V(failed), something of it did not end and is in RV(sessions[].survivors).
      type: str
    skipped_because:
      description:
        - The names of O(protect) that its work has, V(self) (this task runs in it), V(class) (it is no person's),
          V(excluded), V(connection_user), V(min_age), V(active_again) (somebody typed after the warning),
          V(ended_elsewhere) (another run ends it), V(no_process) (nothing is left in it).
      type: list
      elements: str
    part:
      description: Whether only the terminals in C(ttys) are ended, and others of the same connection are not.
      type: bool
    warned:
      description: The warnings, each as C(tty), C(when) (UTC) and C(written) (the terminal took it).
      type: list
      elements: dict
    steps:
      description: The signals that were sent, in order, each as C(signal), C(pid), C(command) and C(when) (UTC).
      type: list
      elements: dict
    survivors:
      description:
        - The processes that are there after the end (in check mode, that would be), each as C(pid), C(command),
          C(state) and C(why).
        - V(multiplexer), V(setsid), V(nohup) and V(background) are meant to outlive it, V(did not end) is not.
      type: list
      elements: dict
    preserved:
      description: Where editors kept unsaved text (swap files, C(FILE.save), C(#FILE#)), looked for afterwards.
      type: list
      elements: str
summary:
  description:
    - The ids of the sessions by outcome, under C(terminated), C(would_terminate), C(skipped), C(gone) and C(failed).
    - They stand here because C(skipped) and C(failed) mean the task itself at the top of a result.
  returned: always
  type: dict
self_known_by:
  description: What told which session is our own (V(ancestors), V(cgroup), V(audit), V(peer)).
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._ending_module import (
    leave,
    limit_option,
    planned_or_done,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.ending import Graces
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import duration_option
from ansible_collections.sessionops.policy.plugins.module_utils._engine.end_sessions import (
    OUTCOMES,
    TERMINATED,
    WOULD_TERMINATE,
    Options,
    Terminator,
    as_dict,
    described,
    left_in,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_ending import Wish
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import (
    Filters,
    Protection,
    Thresholds,
    parse_networks,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import KINDS, WORK, plain
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.accounts import groups_of

# Seconds between two looks, where only two can tell.
_SAMPLE = 5.0


def read_wish(params):
    """What the parameters ask for.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """

    def seconds(name):
        return duration_option(params, name)

    def networks(name):
        try:
            return parse_networks(params[name])
        except ValueError as exc:
            raise ValueError(str(exc).replace("remote_hosts", name)) from None

    wish = Wish(
        Filters(
            params["users"],
            params["groups"],
            params["ttys"],
            params["kinds"],
            params["ids"],
            networks("remote_hosts"),
        ),
        Thresholds(seconds("idle_over"), seconds("age_over"), params["unresponsive"], params["closing"]),
        params["match"] == "any",
        Protection(params["protect"], params["exclude_users"], params["exclude_groups"]),
        params["exclude_ttys"],
        networks("exclude_remote_hosts"),
        params["on_protected"],
        seconds("min_age"),
    )
    if not wish.asks():
        raise ValueError(
            "nothing says which sessions are meant: set at least one of idle_over, age_over, unresponsive, closing, "
            "users, groups, ttys, kinds, remote_hosts and ids"
        )
    sample = params["sample"]
    if sample is None:
        sample = _SAMPLE if params["unresponsive"] else 0.0
    if not 0 <= sample <= 300:
        raise ValueError("sample: write a number of seconds from 0 to 300")
    if params["unresponsive"] and not sample:
        raise ValueError("unresponsive: one look cannot tell; leave sample unset, or set it for example to 5")
    options = Options(
        seconds("warn_grace"),
        params["warn_message"],
        Graces(seconds("hup_grace"), seconds("term_grace")),
        params["force"],
        limit_option(params, "max_terminate"),
        sample,
        params["reason"],
        allow_unknown_self=params["allow_unknown_self"],
        spare_connection_user=params["protect_connection_user"],
    )
    return wish, options


def main():
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "idle_over": {"type": "str"},
            "age_over": {"type": "str"},
            "unresponsive": {"type": "bool", "default": False},
            "closing": {"type": "bool", "default": False},
            "users": names,
            "groups": names,
            "ttys": names,
            "kinds": dict(names, choices=list(KINDS)),
            "remote_hosts": names,
            "ids": names,
            "match": {"type": "str", "choices": ["all", "any"], "default": "all"},
            "exclude_users": names,
            "exclude_groups": names,
            "exclude_ttys": names,
            "exclude_remote_hosts": names,
            "protect": dict(names, choices=list(WORK), default=[name for name in WORK if name != "locks"]),
            "on_protected": {"type": "str", "choices": ["skip", "warn", "terminate"], "default": "skip"},
            "min_age": {"type": "str", "default": "60s"},
            "protect_connection_user": {"type": "bool"},
            "allow_unknown_self": {"type": "bool", "default": False},
            "warn_message": {"type": "str"},
            "warn_grace": {"type": "str", "default": "60s"},
            "hup_grace": {"type": "str", "default": "5s"},
            "term_grace": {"type": "str", "default": "10s"},
            "force": {"type": "bool", "default": False},
            "max_terminate": {"type": "str"},
            "reason": {"type": "str"},
            "sample": {"type": "float"},
        },
        supports_check_mode=True,
    )
    try:
        wish, options = read_wish(module.params)
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    result = planned_or_done(
        module, Terminator(groups=groups_of), wish, options, "what a session is at", "a session, so none was ended"
    )
    for sentence in result.warnings:
        module.warn(sentence)
    leave(
        module,
        result.outcomes,
        (TERMINATED, WOULD_TERMINATE),
        lambda outcome: outcome.session.id,
        OUTCOMES,
        described,
        lambda failed: "sessions did not end: " + "; ".join(f"{described(o)}: {left_in(o)}" for o in failed),
        sessions=[{**plain(outcome.session), **as_dict(outcome)} for outcome in result.outcomes],
        self_known_by=list(result.seen.self_known_by),
    )


if __name__ == "__main__":
    main()
