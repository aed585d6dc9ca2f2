#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: leftover_remove
short_description: Clean up what sessions left behind, and nothing that somebody meant to stay
version_added: 1.0.0
description:
  - Takes away what remains of sessions that are over, which is processes, detached tmux and screen sessions, and stale
    lock files. M(sessionops.policy.session_info) with its O(ignore:gather_subset=leftovers) shows the same things
    and the same reasons beforehand.
  - By default it leaves alone what shows that somebody meant it to stay (O(intent)), what has work in it (O(protect)),
    and what is younger than a day (O(older_than)).
  - Shells get C(HUP) and all else C(TERM), and C(KILL) only with O(force). C(CONT) follows each. A detached tmux or
    screen session is ended by the program's own command, run as its owner, one session and not its whole server.
  - Never touches system users, units of systemd (services, user managers, cron, at, containers), other PID namespaces,
    a live mosh, an attached tmux or screen, or what this task itself runs in.
  - Lock files are moved to a trash folder, not deleted. See the notes for how to restore one.
notes:
  - Run it as root (or with become).
  - The trash is C(/var/lib/session-policy/trash/YYYY-MM-DD/) (UTC), which root alone reads. Beside each file a
    C(.json) says where it was. To restore one, copy it back as it is, for example
    C(cp --archive --no-clobber /var/lib/session-policy/trash/2026-01-31/081500-1a2b3c4d-build.lock
    /srv/build/build.lock). The path is in RV(leftovers[].trash) and in the log. Nothing empties the trash but you.
  - Lock files are looked for in C(/tmp), C(/var/tmp), C(/run/lock), at the top of home folders and where vim and
    neovim keep swap files, on local file systems only, and where O(lock_patterns) says.
  - Each removal is one line in the journal, or in syslog, under the identifier C(leftover_remove).
extends_documentation_fragment:
  - sessionops.policy.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - The sessionops.policy authors (@sessionops)
options:
  kinds:
    description:
      - Which leftovers are meant.
      - V(closing_session) is what is left in the scope of a session that logind calls closing, but for a mosh, a tmux
        or a screen, which look so while they are in use.
      - V(orphan_process) is a process whose shell or connection has ended, a user's sshd without its privileged half,
        or a process of a user who has no session at all.
      - V(detached_multiplexer) is a session of tmux or screen that nobody is attached to.
      - V(stale_lock) is a vim or neovim swap file without its editor, a C(*.lock), C(*.pid), C(.X0-lock) or C(LCK..*)
        that holds the pid of a process that is gone, or a socket of X, tmux or screen that nobody serves.
    type: list
    elements: str
    choices: [closing_session, orphan_process, detached_multiplexer, stale_lock]
    default: [closing_session, orphan_process, detached_multiplexer, stale_lock]
  older_than:
    description:
      - The least age. Seconds, or for example V(90s), V(15m), V(1h30m), V(2d).
      - It counts since a process began, since a tmux or screen session was last attached to or had input or output,
        and since a lock was last written. Of an sshd without its privileged half it counts since the last input, too.
    type: str
    default: 1d
  users:
    description: Only leftovers of these users.
    type: list
    elements: str
    default: []
  exclude_users:
    description: Leave leftovers of these users alone.
    type: list
    elements: str
    default: []
  exclude_groups:
    description: Leave leftovers of members of these groups alone.
    type: list
    elements: str
    default: []
  intent:
    description:
      - What becomes of processes that show that somebody meant them to stay. V(keep) leaves them alone, V(ignore) takes
        them, too.
      - It shows by C(nohup) (C(HUP) is ignored), C(setsid) (a session of its own), C(background) (started with C(&),
        disowned or not, which leaves the same traces) or C(lingering) (the user may linger).
    type: str
    choices: [keep, ignore]
    default: keep
  protect:
    description:
      - Work that protects a leftover. V(jobs) is whatever but shells runs in a detached tmux or screen session,
        V(locks) are file locks that a process holds.
    type: list
    elements: str
    choices: [editors, transfers, databases, package_managers, jobs, locks]
    default: [editors, transfers, databases, package_managers, jobs]
  lock_patterns:
    description:
      - Further files to look at, as absolute paths with C(*), C(?) and C([...]) within a name, whoever owns them.
      - One that holds the pid of a process that is there is in use. One without a pid is stale if no process has it
        open or locked.
      - A swap file with unsaved changes is taken only if it is named here by its whole path, without a wildcard.
    type: list
    elements: str
    default: []
  hup_grace:
    description: How long shells, and what ran in a tmux or screen, have to end after C(HUP).
    type: str
    default: 5s
  term_grace:
    description: How long processes have to end after C(TERM).
    type: str
    default: 10s
  force:
    description: Whether what is left after O(term_grace) is killed.
    type: bool
    default: false
  max_remove:
    description:
      - How many leftovers may be taken at most, as a count or as a percentage of all that are found, rounded up.
      - If it were more, nothing is touched and the task fails.
    type: str
  reason:
    description: Why, in the operator's words, for the log.
    type: str
seealso:
  - module: sessionops.policy.session_info
  - module: sessionops.policy.session_terminate
"""

EXAMPLES = r"""
- name: See what would be taken, and why the rest would not
  sessionops.policy.leftover_remove:
    older_than: 12h
  check_mode: true
  register: plan

- name: Take what is older than a day and nobody meant to stay
  sessionops.policy.leftover_remove:
    max_remove: 50

- name: End detached tmux and screen sessions that nobody used for 30 days, unless something runs in them
  sessionops.policy.leftover_remove:
    kinds: [detached_multiplexer]
    older_than: 30d

- name: Clear away what a former colleague left running
  sessionops.policy.leftover_remove:
    users: [mallory]
    older_than: 0
    intent: ignore
    protect: [transfers]
    force: true
    reason: account closed, OPS-1234

- name: Clear away the build's locks whose process is dead
  sessionops.policy.leftover_remove:
    kinds: [stale_lock]
    lock_patterns: [/srv/build/*/*.lock]
    older_than: 1h
"""

RETURN = r"""
leftovers:
  description: The leftovers that the selectors name, with what became of each.
  returned: always
  type: list
  elements: dict
  contains:
    outcome:
      description:
        - V(removed), or V(would_remove) in check mode. V(skipped) with RV(leftovers[].skipped_because). V(gone), it
          went by itself. V(failed), with RV(leftovers[].trouble).
      type: str
    skipped_because:
      description:
        - V(older_than) (it is younger), V(excluded), V(self) (this task runs in it), V(system_user), V(container),
          V(no_login) (nothing shows that it came from a login; cron and at look so on a host without systemd),
          V(no_process) (logind has the session, but nothing is left in it), V(ended_elsewhere) (another run takes it).
        - The names of O(intent), which are V(nohup), V(setsid), V(background) and V(lingering).
        - The names of O(protect) that it has work of.
        - Of multiplexers V(attached) (somebody has come back), V(no_answer) (its server does not say).
        - Of locks V(held) (a process has it open or locked), V(unsaved_changes), V(other_host) (the swap file was
          written on another host), V(hard_links) (it has a second name), V(folder) (it is in a stranger's folder, or in
          one where anybody may exchange it), V(file_system) (not a local one), V(changed) (it was written, renamed or
          exchanged meanwhile).
      type: list
      elements: str
    kind:
      description: As in O(kinds).
      type: str
    cause:
      description:
        - What it is among its kind.
        - V(closing). V(shell_ended), V(unsupervised) (an sshd without its privileged half), V(no_session).
          V(tmux), V(screen). V(pid_gone), V(vim_swap), V(no_server), V(named) (by O(lock_patterns) only).
      type: str
    why:
      description: A sentence for it.
      type: str
    id:
      description: Boot id, pid and start time, of a tmux or screen with its session's own id; of a lock its path.
      type: str
    pid:
      description: The first of its processes, or the server of the tmux or screen.
      type: int
    start_time:
      description: When that began, in ticks after boot.
      type: int
    user:
      description: Whose it is.
      type: str
    uid:
      description: Their uid.
      type: int
    command:
      description: The name of that process.
      type: str
    name:
      description: The name of a tmux or screen session.
      type: str
    path:
      description: The lock, or the socket of the tmux or screen.
      type: str
    age:
      description: Seconds, as O(older_than) counts.
      type: int
    attached_age:
      description: Seconds since somebody was attached to the tmux or screen session, or since it began.
      type: int
    activity_age:
      description: Seconds since something was typed or written in it.
      type: int
    logind_id:
      description: Logind's id of the session that it is in.
      type: str
    processes:
      description: Its processes, each as C(pid), C(start_time), C(uid), C(tty), C(command) and C(state).
      type: list
      elements: dict
    intent:
      description: How it shows that it is meant to stay, whatever O(intent) says.
      type: list
      elements: str
    work:
      description: The work it has, whatever O(protect) says.
      type: list
      elements: str
    steps:
      description: >-
        What was done, in order, each as C(signal) (or the command of tmux or screen), C(pid), C(command) and C(when).
      type: list
      elements: dict
    survivors:
      description: Its processes that are there still, each as C(pid), C(command), C(state) and C(why).
      type: list
      elements: dict
    trash:
      description: Where the lock is now.
      type: str
    trouble:
      description: Why it could not be removed, as a sentence.
      type: str
summary:
  description:
    - The ids of the leftovers by outcome, under C(removed), C(would_remove), C(skipped), C(gone) and C(failed).
    - They stand here because C(skipped) and C(failed) mean the task itself at the top of a result.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._ending_module import (
    leave,
    limit_option,
    planned_or_done,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.ending import Graces
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import duration_option
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_leftovers import (
    PROTECT,
    PROTECTED,
    read_leftover_wish,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import LEFTOVER_KINDS
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.accounts import groups_of
from ansible_collections.sessionops.policy.plugins.module_utils._engine.remove_leftovers import (
    LEFTOVER_OUTCOMES,
    REMOVED,
    WOULD_REMOVE,
    RemoveOptions,
    Remover,
    described_leftover,
    outcome_as_dict,
)


def read_options(params):
    """How it is to be done.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    graces = Graces(duration_option(params, "hup_grace"), duration_option(params, "term_grace"))
    return RemoveOptions(graces, params["force"], limit_option(params, "max_remove"), params["reason"])


def described(outcome):
    return described_leftover(outcome.leftover)


def main():
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "kinds": dict(names, choices=list(LEFTOVER_KINDS), default=list(LEFTOVER_KINDS)),
            "older_than": {"type": "str", "default": "1d"},
            "users": names,
            "exclude_users": names,
            "exclude_groups": names,
            "intent": {"type": "str", "choices": ["keep", "ignore"], "default": "keep"},
            "protect": dict(names, choices=list(PROTECT), default=list(PROTECTED)),
            "lock_patterns": names,
            "hup_grace": {"type": "str", "default": "5s"},
            "term_grace": {"type": "str", "default": "10s"},
            "force": {"type": "bool", "default": False},
            "max_remove": {"type": "str"},
            "reason": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        wish, options = read_leftover_wish(module.params), read_options(module.params)
    except ValueError as exc:
        module.fail_json(msg=str(exc))
    result = planned_or_done(
        module, Remover(groups=groups_of), wish, options, "what others left behind", "a leftover, so none was taken"
    )
    for sentence in result.seen.warnings:
        module.warn(sentence)
    leave(
        module,
        result.outcomes,
        (REMOVED, WOULD_REMOVE),
        lambda outcome: outcome.leftover.id,
        LEFTOVER_OUTCOMES,
        described,
        lambda failed: "leftovers were not removed: " + "; ".join(f"{described(o)}: {o.trouble}" for o in failed),
        leftovers=[outcome_as_dict(outcome) for outcome in result.outcomes],
    )


if __name__ == "__main__":
    main()
