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
  - C(ssh -G) says what the host's own ssh clients do. tmux shows its options from a server of its own that ends with
    the question; screen's file is read.
  - With O(wanted), the values in force are judged against a policy.
  - Changes nothing, in check mode or out of it. Without root it returns what it can see, and says in
    its warnings what it could not.
extends_documentation_fragment:
  - sessionops.policy.attributes
  - sessionops.policy.attributes.info_module
options:
  users:
    description:
      - Accounts for which the settings in force are to be asked too (C(sshd -T -C user=...), and a login shell as that
        account).
    type: list
    elements: str
    default: []
  login_shells:
    version_added: 1.0.0
    description:
      - Whether to start a login shell of each kind and see its timeout. Without, RV(shell.login),
        RV(shell.non_login) and RV(shell.login_by_user) are empty, and the answer comes sooner.
      - Needed to judge O(wanted).
    type: bool
    default: true
  wanted:
    description:
      - A policy with plain values (seconds, counts) under the names of the umbrella role's variables without their
        prefix, for example V(client_alive_interval). What is absent or null is not judged.
      - V(layers) names the layers to judge, of V(sshd), V(shell), V(logind), V(multiplexer), V(client) and
        V(reaper).
      - V(exempt_users) and V(exempt_groups) are asked for as O(users) are.
      - V(reaper_engine) is the SHA-256 of the engine that the reaper should be.
      - V(rules) maps a setting to its rule ids by benchmark, and with V(scanned) the text that scanners read is judged
        next to what is in force.
      - Next to O(profile) these are the operator's values, which win over the profile's.
    type: dict
    default: {}
  profile:
    version_added: 1.0.0
    description:
      - Judge the host by a profile of the role P(sessionops.policy.session_policy#role), with the values and the rule
        ids that hold for its distribution. RV(policy) says what that is.
      - The profile is read and the host is judged on the controller, after one look at the host.
    type: str
    choices: [cis, stig, pci_dss, anssi, none]
"""

EXAMPLES = r"""
- name: What is in force
  sessionops.policy.policy_info:
  register: info

- name: What is in force for one account
  sessionops.policy.policy_info:
    users: [deploy]

- name: Judge a host by CIS, but for a shorter timeout, and say what holds for one account
  sessionops.policy.policy_info:
    profile: cis
    wanted:
      idle_timeout: 10m
    users: [deploy]

- name: Judge a host by values
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
  contains:
    id: {description: C(ID) of os-release., type: str, returned: always, sample: debian}
    id_like: {description: C(ID_LIKE) of os-release., type: list, elements: str, returned: always}
    version_id: {description: C(VERSION_ID) of os-release., type: str, returned: always, sample: "12"}
    name: {description: C(PRETTY_NAME) of os-release., type: str, returned: always}
    family:
      description: V(debian), V(rhel), V(suse), V(arch), V(alpine) or V(unknown).
      type: str
      returned: always
    hostname: {description: The kernel's host name., type: str, returned: always}
    init: {description: "V(systemd), V(sysvinit), V(openrc) or V(unknown).", type: str, returned: always}
    systemd_version: {description: Null without systemd., type: int, returned: always}
    systemd_features: {description: How systemd was built., type: list, elements: str, returned: always}
    logind: {description: Whether C(systemd-logind) runs., type: bool, returned: always}
    utmp: {description: Whether there is a C(utmp) file., type: bool, returned: always}
    tmux: {description: Path or null., type: str, returned: always}
    screen: {description: Path or null., type: str, returned: always}
    python: {description: Version of the Python that looked., type: str, returned: always}
    python_executable: {description: Its path., type: str, returned: always, version_added: 1.0.0}
sshd:
  description:
    - The OpenSSH server. Where none is installed only RV(sshd.installed) says anything.
    - In force is what C(sshd -T) says; a value's source is the first line that sets it, found by reading the files as
      sshd does. Where the two disagree there is a warning.
  returned: always
  type: dict
  contains:
    installed: {description: Whether there is one., type: bool, returned: always}
    binary: {description: Its path., type: str, returned: always}
    version: {description: For example V(9.2p1)., type: str, returned: always}
    version_number: {description: "For example V([9, 2]).", type: list, elements: int, returned: always}
    config: {description: The main file., type: str, returned: always}
    config_ok: {description: Whether sshd accepts it; null if it could not be asked., type: bool, returned: always}
    config_error: {description: sshd's own words if not., type: str, returned: always}
    include:
      description: Whether the main file includes RV(sshd.drop_in_dir) before any C(Match).
      type: bool
      returned: always
    drop_in_dir: {description: The platform's folder of drop-ins., type: str, returned: always}
    drop_in_dir_exists: {description: Whether it is there., type: bool, returned: always}
    drop_in_first:
      description: Whether that include stands before every line of the main file that sets a keyword of the policy.
      type: bool
      returned: always
    unit: {description: Name of its service without suffix., type: str, returned: always, sample: ssh}
    socket_activated: {description: Whether a socket unit listens for it., type: bool, returned: always}
    running: {description: Whether a daemon or a socket listens., type: bool, returned: always}
    pid: {description: The daemon's., type: int, returned: always}
    options: {description: C(-f) and C(-o) of its command line., type: list, elements: str, returned: always}
    started_at: {description: When the daemon started., type: str, returned: always}
    loaded_at:
      description:
        - When the running daemon read its configuration. sshd writes its pid file when it has, at its start and after
          every SIGHUP, while its pid and start time stay what they were; so this is that file's modification time.
      type: str
      returned: always
    config_changed_at:
      description: When a file of the configuration, or a folder that is included by a pattern, last changed.
      type: str
      returned: always
    current:
      description:
        - Whether new connections get the configuration that is on disk. Null if nothing tells, and
          RV(sshd.current_why) says why.
      type: bool
      returned: always
    current_why: {description: A sentence or null., type: str, returned: always}
    reload:
      description: What to run so that new connections get the configuration on disk; empty where nothing is needed.
      type: list
      elements: list
      returned: always
      sample: [[systemctl, reload, ssh.service]]
    start:
      version_added: 1.0.0
      description:
        - What to run to bring what listens now up again, should it die. It does nothing to what lives. Empty where
          nothing listens.
      type: list
      elements: list
      returned: always
      sample: [[systemctl, reset-failed, ssh.service], [systemctl, start, ssh.service]]
    validate:
      description: What to run to validate the configuration on disk.
      type: list
      elements: list
      returned: always
      sample: [[/usr/sbin/sshd, -t]]
    supports:
      description: V(include), V(channel_timeout), V(unused_connection_timeout) and V(count_max_zero_disables).
      type: dict
      returned: always
    scanner_main_file:
      description: Whether the usual scanner content for this distribution reads only the main file.
      type: bool
      returned: always
    effective:
      description: What C(sshd -T) prints, by lower-case keyword; a repeated keyword has one value per line.
      type: dict
      returned: always
    effective_by_user: {description: The policy's keywords for each account asked about., type: dict, returned: always}
    sources:
      description:
        - For each keyword of the policy that is set globally, V(source) (C(file:line)), V(value), whether the line is
          V(ours), and V(overridden), the lines that lose against it.
      type: dict
      returned: always
    matches:
      description: The policy's keywords inside C(Match) blocks.
      type: list
      elements: dict
      returned: always
shell:
  description: Shells, and their idle timeout as a login shell of each kind sees it.
  returned: always
  type: dict
  contains:
    shells: {description: Path of each kind of shell or null., type: dict, returned: always}
    files:
      description:
        - Where this platform's shells read their settings, whether or not the files exist. V(profile_dir), V(bashrc),
          V(zsh), V(csh), and V(csh_dir) with V(csh_suffix), a folder of snippets that csh reads.
      type: dict
      returned: always
    login:
      description:
        - By kind of shell, V(tmout) (seconds), V(readonly), V(exported) and V(error), as a login shell that was started
          for an unprivileged account with C(/etc/skel) as its home has them. For tcsh also V(autologout_minutes).
      type: dict
      returned: always
    non_login: {description: The same for an interactive bash that is no login shell., type: dict, returned: always}
    login_by_user: {description: The same for a login bash of each account asked about., type: dict, returned: always}
    login_shells_of: {description: Accounts by the kind of their login shell., type: dict, returned: always}
    setters:
      description:
        - Every line of a system-wide start-up file that sets C(TMOUT) or C(autologout), with V(source), V(text),
          V(value) and whether it is V(ours).
      type: list
      elements: dict
      returned: always
logind:
  description: C(systemd-logind), over D-Bus and on disk. Times are in seconds, null is infinity.
  returned: always
  type: dict
  contains:
    running: {description: Whether it runs. Looking does not start it., type: bool, returned: always}
    can_stop_idle_session: {description: Whether it knows C(StopIdleSessionSec)., type: bool, returned: always}
    sees_ssh_ttys:
      description: Whether it can know the terminal of an ssh session; without, no such session is ever idle to it.
      type: bool
      returned: always
    effective: {description: What it has in force., type: dict, returned: always}
    on_disk:
      description: What is configured, with V(value), V(source), V(ours) and V(overridden).
      type: dict
      returned: always
    current: {description: Whether what is in force is what is configured., type: bool, returned: always}
    reload: {description: What to run to make it so., type: list, elements: list, returned: always}
limits:
  description: V(maxlogins) for everybody with its source, and whether sshd's PAM stack is V(active) with C(pam_limits).
  returned: always
  type: dict
reaper:
  version_added: 1.0.0
  description: The C(session-reaper) of this host, by its timer and by what its last run left.
  returned: always
  type: dict
  contains:
    engine: {description: SHA-256 of the engine that is installed or null., type: str, returned: always}
    files: {description: The files of that engine., type: list, elements: str, returned: always}
    cron: {description: Path of the cron daemon or null., type: str, returned: always}
    active: {description: Whether its timer is active or its cron job is there., type: bool, returned: always}
    last_run: {description: When it last ran since the boot or null., type: str, returned: always}
    last_run_age: {description: The seconds since then., type: int, returned: always}
    policy: {description: The policy that this run went by., type: dict, returned: always}
client:
  version_added: 1.0.0
  description: The OpenSSH client, as C(ssh -G) shows it for a host that nobody wrote a block for.
  returned: always
  type: dict
  contains:
    installed: {description: Whether there is one., type: bool, returned: always}
    version: {description: For example V(9.2p1)., type: str, returned: always}
    config: {description: The system's main file., type: str, returned: always}
    drop_in_dir: {description: The platform's folder of drop-ins., type: str, returned: always}
    include: {description: Whether the main file includes it before any block., type: bool, returned: always}
    effective: {description: The policy's keywords., type: dict, returned: always}
    error: {description: ssh's own words where it does not answer., type: str, returned: always}
    sources: {description: As RV(sshd.sources)., type: dict, returned: always}
multiplexer:
  version_added: 1.0.0
  description: tmux and screen, when they lock and with what, and what else lets work in them survive.
  returned: always
  type: dict
  contains:
    tmux:
      description:
        - V(program) or null, V(config) and V(config_mode), V(lock_after_time) in seconds (0 is never), V(lock_command)
          and whether it exists (V(lock_command_exists)), V(lock_keys), what tmux says of its configuration
          (V(complaint)) and why it could not be asked (V(error)), the same V(by_user) for each account asked about, and
          V(sources), the line of each option.
      type: dict
      returned: always
    screen:
      description: V(program) or null, V(config), V(idle) in seconds or null, V(source), V(text) and if it is V(ours).
      type: dict
      returned: always
    locker: {description: Path of C(vlock) or null., type: str, returned: always}
    locker_package: {description: The package that has it on this distribution., type: str, returned: always}
    shells:
      description:
        - V(tmux), the lines of C(/etc/shells) that name tmux, and what V(path) and V(kept_path) are to hold without
          them (V(without) and V(kept)) and with them again (V(restored)); null where nothing is to be done.
      type: dict
      returned: always
    linger: {description: "Who lingers, and whether it is ours.", type: dict, returned: always}
    no_password:
      description: People whose account has no password, so that they can't unlock what is locked.
      type: list
      elements: str
      returned: always
scanner:
  version_added: 1.0.0
  description:
    - By setting, the lines that the usual scanner content of this distribution would match, each with its V(source) and
      V(value), whatever their effect.
  returned: always
  type: dict
policy:
  version_added: 1.0.0
  description: What O(profile) and O(wanted) come to on this host, with V(profile), V(values), V(layers), V(rules) and
    V(warnings).
  returned: if O(profile) is given
  type: dict
findings:
  description: The settings of O(wanted) or O(profile) against what is in force.
  returned: always
  type: list
  elements: dict
  contains:
    layer:
      description: V(sshd), V(shell), V(logind), V(multiplexer), V(client) or V(reaper).
      type: str
      returned: always
    clock:
      description:
        - V(unresponsive peer), V(idle channel), V(unused connection), V(idle shell), V(idle session), V(session age),
          V(login grace), V(session lock), V(keepalive of clients) or V(limit); V(running configuration) for a daemon
          that has not read what is on disk.
      type: str
      returned: always
    setting: {description: The name in O(wanted)., type: str, returned: always}
    wanted: {description: Its value; null for an exempt account., type: raw, returned: always}
    in_force: {description: What the host does., type: raw, returned: always}
    compliant:
      description: Null where this host has nothing that could enforce it, or nothing tells; RV(findings[].why) says so.
      type: bool
      returned: always
    source: {description: C(file:line) of the value in force., type: str, returned: always}
    overridden_by: {description: C(file:line) and text of what wins instead., type: str, returned: always}
    why: {description: A sentence or null., type: str, returned: always}
    remedy: {description: What to do or null., type: str, returned: always}
    rules: {description: Rule ids by benchmark., type: list, elements: str, returned: always}
    user: {description: The account that it is about., type: str, returned: always}
    shell: {description: The kind of shell or the multiplexer that it is about., type: str, returned: always}
    kind:
      version_added: 1.0.0
      description:
        - V(value) is about what is in force. V(text_only) says that a scanner of this distribution would pass the host
          for text that has no effect, V(effect_only) that it would fail the host though the value is in force.
      type: str
      returned: always
    bound:
      description: Seconds after which this version of OpenSSH has really ended the connection of an unresponsive peer.
      type: int
      returned: always
transactions:
  version_added: 1.0.0
  description:
    - The last five transactions of M(sessionops.policy.config_transaction) on this host, newest first, as they are kept
      in C(/var/lib/session-policy/.transactions). Empty without root.
  returned: always
  type: list
  elements: dict
  contains:
    id: {description: What to confirm it by., type: str, returned: always, sample: 000007-5f1c09ad}
    name: {description: Its name., type: str, returned: always, sample: sshd}
    state:
      description:
        - V(done), V(pending) while it runs or waits to be confirmed, or V(reverted) if the host took it back by itself.
      type: str
      returned: always
    at: {description: When it was made., type: str, returned: always}
    confirm_within: {description: Seconds in which it had to be confirmed or null., type: int, returned: always}
    files: {description: "For each file its V(path) and V(action).", type: list, elements: dict, returned: always}
    why: {description: Why the host took it back or null., type: str, returned: always}
users:
  description: For each account asked about, whether it is V(existing).
  returned: always
  type: dict
groups:
  description: For each exempt group, whether it is V(existing), and its V(members).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.policy import observe_policy
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree
from ansible_collections.sessionops.policy.plugins.module_utils._engine.wanted import parse_wanted


def main():
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "default": []},
            "login_shells": {"type": "bool", "default": True},
            "wanted": {"type": "dict", "default": {}},
            # The action plugin keeps it on the controller.
            "profile": {"type": "str", "choices": ["cis", "stig", "pci_dss", "anssi", "none"]},
        },
        supports_check_mode=True,
    )
    try:
        wanted = parse_wanted(module.params["wanted"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    if wanted and not module.params["login_shells"]:
        module.fail_json(msg="wanted cannot be judged without the shells: leave login_shells out.")
    users = [*module.params["users"], *(wanted.get("exempt_users") or [])]
    facts = observe_policy(
        Tree(),
        list(dict.fromkeys(users)),
        wanted.get("exempt_groups") or [],
        login_shells=module.params["login_shells"],
    )
    facts["findings"] = []
    if wanted.get("layers"):
        # Where the controller judges, a task need not compile it.
        from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_policy import judge_policy

        facts["findings"] = judge_policy(wanted, facts)
    for sentence in facts.pop("warnings"):
        module.warn(sentence)
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
