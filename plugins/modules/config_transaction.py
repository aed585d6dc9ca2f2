#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_transaction
short_description: Put a set of configuration files in force, or none of them
version_added: 0.1.0
author:
  - The sessionops.policy authors (@sessionops)
description:
  - Writes several configuration files, validates the whole, makes the service read them and verifies the effect,
    in one trip to the host. When any of that fails, every file is put back as it was.
  - The validation sees the new files in their places while nobody else does, in a private mount namespace. A service
    that happens to reload meanwhile reads what it had before. Check mode validates in the same way.
    Where the host allows no such namespace, the files are placed, validated, and put back if that fails;
    RV(validated_in) tells which it was.
  - When nothing is to be changed, no command is run.
  - With O(confirm_within), the host takes the change back by itself unless somebody comes back over a new connection
    and confirms it. A policy that lets nobody in, a controller that dies, a network that is cut and a host that is
    started anew in the meantime all end with the former files in force.
extends_documentation_fragment:
  - sessionops.policy.attributes
attributes:
  check_mode:
    support: full
    details:
      - The commands of O(validate) are run where the host allows a private mount namespace; else a warning says that
        nothing was validated. Those of O(apply) and O(verify) are not run.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - The name of the transaction, of lower case letters, digits, V(-) and V(_). Required unless O(state=previous).
      - It names the place of its notes, C(/var/lib/session-policy/NAME/), and the lines around its blocks.
    type: str
  state:
    version_added: 1.0.0
    description:
      - V(present) brings the host to what O(files) say.
      - V(confirmed) says that the host can still be reached after a change with O(confirm_within), which stays then. It
        is refused over the ssh connection that the change came over.
      - V(previous) takes the last transaction on the host back, whatever its name, as a transaction of its own. It is
        refused where somebody else has changed one of the files since.
    type: str
    choices: [present, confirmed, previous]
    default: present
  id:
    version_added: 1.0.0
    description: Which change is confirmed, the RV(id) that it returned. Required with O(state=confirmed).
    type: str
  files:
    description: The files, each of them named once. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - The absolute path of the file. Directories that are missing are made, mode V(0755).
          - A symbolic link is resolved and its target edited where only root can have put it. In a folder where others
            can write, a symbolic link is refused.
        type: str
        required: true
      content:
        description: The whole file.
        type: str
      block:
        description:
          - Some lines in a file that is otherwise left alone, byte for byte. They are put between the lines
            C(# BEGIN sessionops.policy NAME) and C(# END sessionops.policy NAME).
          - When O(files[].state=absent), giving it (V("") will do) means that only the block is taken away.
        type: str
      insert:
        description: Where in the file a new block goes. A block that is there stays where it is.
        type: str
        choices: [top, bottom]
        default: top
      comment:
        description: What begins a comment in this file.
        type: str
        default: "#"
      create:
        description: Whether to make the file when it is missing and O(files[].block) is given. Else it is skipped.
        type: bool
        default: false
      state:
        description:
          - V(present) puts the content or the block there.
          - V(absent) with O(files[].block) takes the block away, and the file as well when this transaction made it
            and nothing else is in it.
          - V(absent) without O(files[].block) removes the file, whoever made it.
          - V(absent) also removes the directories that this transaction made, unless somebody else put something there.
        type: str
        choices: [present, absent]
        default: present
      mode:
        description:
          - The mode, as a quoted octal number like V('0644').
          - By default a file keeps the mode, owner, group, ACL and security context that it has; a new one gets
            V('0644') and belongs to root.
        type: raw
      owner:
        description: The name or number of the user that the file belongs to.
        type: str
      group:
        description: The name or number of the group that the file belongs to.
        type: str
  validate:
    description:
      - Commands that must succeed with the new files in place, before anybody else sees them. Each is a list of words.
      - They run one after another, as do those of O(apply) and O(verify), without a shell, for at most 300 seconds
        each.
    type: list
    elements: list
    default: []
  apply:
    description:
      - Commands that make the service read the files. When one of them or of O(verify) fails, all of O(apply) is run
        once more with the former files.
    type: list
    elements: list
    default: []
  verify:
    description: Commands that must succeed at the end.
    type: list
    elements: list
    default: []
  rescue:
    version_added: 1.0.0
    description:
      - Commands that bring the service up again if it has died of the files that are taken back. They must do nothing
        to a service that lives. They are run after O(apply); with O(logins) only if that fails or nobody answers.
    type: list
    elements: list
    default: []
  confirm_within:
    version_added: 1.0.0
    description:
      - Seconds, from 5 to 3600, from the moment the files are placed, in which somebody must come back over a new
        connection with O(state=confirmed). V(0) means that nobody needs to.
      - It costs nothing when nothing is to be changed.
    type: int
    default: 0
  logins:
    version_added: 1.0.0
    description:
      - Before anybody confirms, sshd is asked on the host for a login without credentials of the user of this
        connection, of the O(logins.users) and members of the O(logins.groups), and of those whom a C(Match) block
        names. Whoever is refused has got through to sshd's answer. If a connection is closed before, the change is
        taken back at once.
      - Of a group or a pattern with wildcards, five accounts are asked for. Without an ssh client on the host it only
        has to greet. The account and the session come after that answer, and only a real login shows them.
    type: dict
    suboptions:
      config:
        description: The main file of sshd's configuration.
        type: str
        default: /etc/ssh/sshd_config
      listen:
        description: The C(listenaddress) lines of C(sshd -T). An ssh connection to this host knows better.
        type: str
        default: ""
      pid_file:
        description: The file that sshd writes when it has read its configuration.
        type: str
        default: /run/sshd.pid
      users:
        description: Accounts to ask for. Those that do not exist are left out.
        type: list
        elements: str
        default: []
      groups:
        description: Groups to ask for members of.
        type: list
        elements: str
        default: []
  forget:
    description:
      - Whether what is kept of former transactions with this O(name) goes when this one has come to its end. By default
        that is so if all O(files) are V(absent). Say it where taking something away leaves a file with other content.
    type: bool
    version_added: 1.0.0
notes:
  - Transactions on one host run one at a time. A second one waits up to 60 seconds for the first. If the first waits
    for its confirmation and has more time left than that, the second is refused at once.
  - >-
    How the host takes something back by itself. A transient timer of systemd or, without systemd, a process of its own
    runs C(/var/lib/session-policy/revert.pyz), which is this collection's engine. A unit, without systemd a line in
    C(/etc/inittab), runs it before sshd starts at the next boot. All that is gone when the change is confirmed or taken
    back. It writes a line to the journal or syslog, and the next run returns it in RV(reverted).
  - The last five transactions are kept in C(/var/lib/session-policy/.transactions), which only root can read, and
    M(sessionops.policy.policy_info) lists them. Taking away all files of a transaction takes its part of them along;
    see O(forget).
  - >-
    How each failure leaves the host. B(As it was, nothing touched): a wrong option; an unknown user, group or program;
    a path that is a directory, a FIFO, a socket or a device; a path named twice, through links or not; a
    symbolic link in a folder where others can write; a file there that belongs to a third user or has a second name;
    marker lines that are not one pair; a validation that fails in the private mount namespace; a full
    disk or a read-only file system under C(/var/lib).
  - >-
    B(As it was, restored before the module returns): a disk that is full, a file system that is read-only, a file
    that is immutable; a validation that fails in place; a command of O(apply) or O(verify) that fails or does not end,
    after which O(apply) is run with the former files; SIGTERM, SIGHUP and SIGINT. The former file is kept under a
    second name beside until the end, so that putting it back needs no space.
  - >-
    B(Restored by the next run) of this module on the host with any O(name), which does it before anything else and
    returns RV(recovered=true): a kill -9 or a crash of the host at any point between the first change and the end. It
    runs the interrupted transaction's O(apply) as well. A file that somebody else changed in the meantime is left, with
    a warning.
  - >-
    B(Not restored): a file that can't be put back, because its disk fails or it has become immutable meanwhile. The
    message lists each such file and where its former bytes are, and every next run tries again before anything else.
  - >-
    Each file is replaced at once and all of them within moments. Between the first and the last, a service that reloads
    by itself may see some new files next to some former ones.
  - A file that is replaced gets a new inode. Other hard links to it keep the former content.
  - O(validate) can't speak for a command that asks a running service, which sees the files outside.
"""

EXAMPLES = r"""
- name: Cut peers that do not answer for five minutes
  sessionops.policy.config_transaction:
    name: sshd
    files:
      - path: /etc/ssh/sshd_config.d/00-session-policy.conf
        content: |
          ClientAliveInterval 300
          ClientAliveCountMax 1
    validate:
      - [/usr/sbin/sshd, -t]
    apply:
      - [systemctl, reload, ssh]
    verify:
      - [systemctl, is-active, --quiet, ssh]

- name: Take a change back unless a new login gets through within a minute
  sessionops.policy.config_transaction:
    name: sshd
    files:
      - path: /etc/ssh/sshd_config.d/00-session-policy.conf
        content: |
          ClientAliveInterval 300
          ClientAliveCountMax 1
    validate:
      - [/usr/sbin/sshd, -t]
    apply:
      - [systemctl, reload, ssh]
    rescue:
      - [systemctl, start, ssh]
    confirm_within: 60
    logins:
      users: [backup]
  register: change

- name: Confirm it if there was one
  when: change.pending
  ansible.builtin.include_tasks: confirm.yml
# confirm.yml, as a reset of the connection heeds no condition:
#
# - name: Close the connection
#   ansible.builtin.meta: reset_connection
#
# - name: Confirm the change over a new one
#   sessionops.policy.config_transaction:
#     name: sshd
#     state: confirmed
#     id: "{{ change.id }}"

- name: Back to the state before the last transaction
  sessionops.policy.config_transaction:
    state: previous

- name: The same where sshd knows no Include
  sessionops.policy.config_transaction:
    name: sshd
    files:
      - path: /etc/ssh/sshd_config
        block: |
          ClientAliveInterval 300
          ClientAliveCountMax 1
        insert: top
    validate:
      - [/usr/sbin/sshd, -t]
    apply:
      - [systemctl, reload, sshd]

- name: Take all of it away again
  sessionops.policy.config_transaction:
    name: sshd
    files:
      - path: /etc/ssh/sshd_config.d/00-session-policy.conf
        state: absent
      - path: /etc/ssh/sshd_config
        block: ""
        state: absent
    validate:
      - [/usr/sbin/sshd, -t]
    apply:
      - [systemctl, reload, ssh]
"""

RETURN = r"""
files:
  description: What became of each file, or would have in check mode or had the run not failed.
  returned: always, once the host was looked at
  type: list
  elements: dict
  contains:
    path:
      description: The path as it was given.
      type: str
    action:
      description: >-
        V(created), V(changed), V(removed), V(unchanged), or V(skipped) for a block in a file that is missing.
      type: str
  sample: [{path: /etc/ssh/sshd_config.d/00-session-policy.conf, action: created}]
validated_in:
  description: >-
    V(namespace) when O(validate) saw the new files in a private mount namespace, V(place) when they had to be placed
    for it, V(none) when nothing was validated.
  returned: always
  type: str
  sample: namespace
restored:
  description: The files that were put back after a failure, of this run or of one that was interrupted before.
  returned: always
  type: list
  elements: str
  sample: []
name:
  version_added: 1.0.0
  description: The name of the transaction, null if there was nothing to do.
  returned: always
  type: str
  sample: sshd
id:
  version_added: 1.0.0
  description: The id of the transaction, null if there was nothing to do.
  returned: always
  type: str
  sample: 000007-5f1c09ad
pending:
  version_added: 1.0.0
  description: Whether it waits to be confirmed.
  returned: always
  type: bool
  sample: true
confirm_by:
  version_added: 1.0.0
  description: When the host takes it back, null unless RV(pending).
  returned: always
  type: str
  sample: "2026-11-24T11:06:48Z"
reverted:
  version_added: 1.0.0
  description: What the host took back by itself since the last run, with V(id), V(name), V(at) and V(why).
  returned: always
  type: list
  elements: dict
  sample: []
recovered:
  description: Whether an interrupted earlier run was rolled back first.
  returned: always
  type: bool
  sample: false
"""

import signal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._engine.files import Refused, World
from ansible_collections.sessionops.policy.plugins.module_utils._engine.order import (
    read_commands,
    read_logins,
    read_order,
    read_within,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.transaction import (
    Failed,
    Interrupted,
    Report,
    confirm,
    run,
    run_back,
)

FILE = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str"},
    "block": {"type": "str"},
    "insert": {"type": "str", "choices": ["top", "bottom"], "default": "top"},
    "comment": {"type": "str", "default": "#"},
    "create": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "mode": {"type": "raw"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
LOGINS = {
    "config": {"type": "str", "default": "/etc/ssh/sshd_config"},
    "listen": {"type": "str", "default": ""},
    "pid_file": {"type": "str", "default": "/run/sshd.pid"},
    "users": {"type": "list", "elements": "str", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
}
COMMANDS = {"type": "list", "elements": "list", "default": []}


def interrupt(number, frame):
    """Undo what was begun, and let nothing disturb that."""
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name)


def carry_out(params, check, report):
    """What `state` asks for."""
    if params["state"] == "confirmed":
        if not check:
            confirm(World(), params["name"], params["id"], report)
    elif params["state"] == "previous":
        asked = read_commands(params), read_within(params["confirm_within"]), read_logins(params["logins"])
        run_back(World(), *asked, check, report)
    else:
        run(World(), read_order(params), check, report)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "confirmed", "previous"], "default": "present"},
            "id": {"type": "str"},
            "files": {"type": "list", "elements": "dict", "options": FILE},
            "validate": COMMANDS,
            "apply": COMMANDS,
            "verify": COMMANDS,
            "rescue": COMMANDS,
            "confirm_within": {"type": "int", "default": 0},
            "logins": {"type": "dict", "options": LOGINS},
            "forget": {"type": "bool"},
        },
        required_if=[("state", "present", ["name", "files"]), ("state", "confirmed", ["name", "id"])],
        supports_check_mode=True,
    )
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, interrupt)
    report = Report()
    sentence = None
    try:
        carry_out(module.params, module.check_mode, report)
    except (Refused, Failed) as problem:
        sentence = str(problem)
    except PermissionError as problem:
        sentence = f"{problem.filename}: {problem.strerror}: run this as root, with become: true"
    except OSError as problem:
        sentence = f"{problem.filename}: {problem.strerror}. Nothing was touched."
    except Interrupted as problem:
        sentence = f"Interrupted by {problem} before anything was touched."
    for warning in report.warnings:
        module.warn(warning)
    result = {
        "changed": report.changed,
        "files": report.files,
        "validated_in": report.validated_in,
        "restored": report.restored,
        "recovered": report.recovered,
        "reverted": report.reverted,
        "name": report.name,
        "id": report.id,
        "pending": report.pending,
        "confirm_by": report.confirm_by,
    }
    if module._diff:
        result["diff"] = report.diff
    if sentence:
        module.fail_json(msg=sentence, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
