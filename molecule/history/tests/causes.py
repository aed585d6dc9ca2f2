# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that end in every way there is, each on a real host and for real, one user a way."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import typing as t

from realhosts import Machine, Person, inside, run, testhost, until

# Of a network for documentation, between namespaces inside the host.
HERE, THERE = "198.51.100.1", "198.51.100."
TMOUT = 30
LOGIND_IDLE = 110

# Who: what their session, or their login, ends by. From which OpenSSH or on which release it can be had.
CASES: dict[str, tuple[str, ...]] = {
    "exits": ("exit",),
    "exits_late": ("exit",),
    "runs": ("exit",),
    "copies": ("exit",),
    "types_tilde": ("client_closed",),
    "closes_window": ("client_closed",),
    "is_cut_off": ("client_closed",),
    "is_reset": ("connection_reset",),
    "freezes": ("unresponsive_peer",),
    "idles_channel": ("idle_channel",),
    "forwards": ("unused_connection",),
    "idles_bash": ("idle_shell",),
    "idles_zsh": ("idle_shell",),
    "idles_ksh": ("idle_shell",),
    "idles_mksh": ("idle_shell",),
    "idles_logind": ("logind_idle",),
    "is_reaped": ("reaper",),
    "is_terminated": ("session_terminate",),
    "loses_priv": ("killed",),
    "loses_child": ("killed",),
    "has_priv_told": ("killed",),
    "is_logged_out": ("killed",),
    "is_shut_down": ("shutdown",),
    "multiplexes": ("exit", "max_sessions"),
    "logs_in_twice": ("exit", "max_logins"),
    "is_locked_out": ("policy_lockout",),
    "waits_to_log_in": ("login_grace",),
    "is_one_too_many": ("max_startups",),
    "is_penalised": ("source_penalty",),
    # The same while sshd logs at LogLevel INFO, where it says less: unknown is right then, another name is not.
    "quietly_exits": ("exit",),
    "quietly_hangs_up": ("client_closed",),
    "quietly_is_cut": ("client_closed",),
    "quietly_is_killed": ("killed",),
    "quietly_idles": ("idle_channel",),
}
SINCE = {
    "idles_channel": (9, 2),
    "quietly_idles": (9, 2),
    "forwards": (9, 2),
    "is_locked_out": (9, 2),
    "is_penalised": (9, 8),
}
# logind 252 ends idle sessions; 247 cannot, and 257 on Debian 13 sees no terminal of an ssh session.
ONLY_ON = {"idles_logind": ("bookworm",)}
SHELLS = {"idles_zsh": "/bin/zsh", "idles_ksh": "/bin/ksh93", "idles_mksh": "/bin/mksh"}
# Those of whom the logs know no name, by the address that they come from.
NAMELESS = {"is_locked_out": THERE + "11", "waits_to_log_in": THERE + "12", "is_one_too_many": THERE + "13",
            "is_penalised": THERE + "14"}  # fmt: skip


def can(case: str, machine: Machine) -> bool:
    return machine.openssh >= SINCE.get(case, (0, 0)) and machine.release in ONLY_ON.get(case, (machine.release,))


SETUP = rf"""
set -eu
for user in {" ".join(CASES)} forges; do
  id $user >/dev/null 2>&1 || useradd --create-home --shell /bin/bash $user
  install -d -o $user -m 700 /home/$user/.ssh
done
test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cat /root/.ssh/authorized_keys /root/.ssh/id_ed25519.pub > /root/keys
for user in {" ".join(CASES)} forges; do
  install -o $user -m 600 /root/keys /home/$user/.ssh/authorized_keys
  touch /home/$user/.zshrc
done
{chr(10).join(f"usermod -s {shell} {user}" for user, shell in SHELLS.items())}
echo 'logs_in_twice hard maxlogins 2' > /etc/security/limits.d/history.conf
ip netns add there
ip link add here type veth peer name there netns there
ip addr add {HERE}/24 dev here
ip link set here up
ip -n there link set there up
for last in 10 11 12 13 14; do ip -n there addr add {THERE}$last/24 dev there; done
"""

# Podman puts a tmpfs there, and what is in it is gone when the host starts again.
KEEP_JOURNAL = (
    "umount -l /var/log/journal; mkdir -p /var/log/journal/$(cat /etc/machine-id) && "
    "systemctl restart systemd-journald && journalctl --flush"
)


def sshd_config(machine: Machine, *more: str, level: str = "VERBOSE") -> None:
    modern = machine.openssh >= (9, 2)
    lines = [
        f"LogLevel {level}",
        "MaxStartups 100",
        "LoginGraceTime 15",
        *(["PerSourcePenalties no"] if machine.openssh >= (9, 8) and "PerSourcePenalties" not in "".join(more) else []),
        *more,
        "Match User freezes",
        "  ClientAliveInterval 2",
        "  ClientAliveCountMax 1",
        "Match User multiplexes",
        "  MaxSessions 1",
        *(["Match User forwards", "  UnusedConnectionTimeout 3"] if modern else []),
        # It passes sshd -t, and lets nobody in whom it matches.
        *(["Match User is_locked_out", "  ChannelTimeout none"] if modern else []),
    ]
    # sshd takes the first value: what comes in `more` for a keyword above has to come before it.
    first = {line.split()[0] for line in more}
    lines = [*more, *[line for line in lines if line.split()[0] not in first]]
    machine.write("/etc/ssh/sshd_config.d/00-history.conf", "\n".join(lines) + "\n")
    machine.exec("systemctl reload ssh")
    time.sleep(1)


def from_there(machine: Machine, address: str, *words: str) -> list[str]:
    """argv of a command in the network namespace inside the host."""
    enter = [*shlex.split(machine.variables["testhost_enter"]), "podman", "exec", "-i"]
    return [*enter, machine.variables["testhost_container"], "ip", "netns", "exec", "there", *words]


def ssh_from_there(machine: Machine, user: str, address: str, *words: str) -> list[str]:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-b", address]
    return from_there(machine, address, "ssh", "-tt", *options, f"{user}@{HERE}", *words)


CONNECT = (
    "import socket, time; "
    "s = [socket.create_connection(('{0}', 22), source_address=('{1}', 0)) for n in range({2})]; "
    "print('there', flush=True); time.sleep({3})"
)


def connect(machine: Machine, address: str, count: int = 1, seconds: int = 1) -> subprocess.Popen:
    """`count` connections that say nothing, for so many seconds."""
    code = CONNECT.format(HERE, address, count, seconds)
    client = subprocess.Popen(
        from_there(machine, address, "python3", "-c", code), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout and client.stdout.readline() == "there\n"
    return client


def process(machine: Machine, user: str, privileged: bool) -> int:
    found = [pid for pid, title in machine.connections(user).items() if ("[priv]" in title) == privileged]
    assert len(found) == 1, machine.connections(user)
    return found[0]


# A copy of logger that is called sshd is what the journal calls it, too, but not where it lies.
FORGE = (
    'cp /usr/bin/logger sshd; set -- $SSH_CONNECTION; L="./sshd -p auth.info"; '
    "for T in sshd sshd[$PPID] sshd-session; do for M in "
    '"Timeout, client not responding from user forges $1 port $2" '
    '"Read error from remote host $1 port $2: Connection reset by peer" '
    "'Accepted publickey for root from 6.6.6.6 port 6 ssh2: ED25519 SHA256:x' "
    "'pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)' "
    "'drop connection #9 from [6.6.6.6]:6 on [1.1.1.1]:22 past MaxStartups' "
    "'fatal: x_channel_timeouts: internal error: bad timeout none [preauth]'; "
    'do $L -t "$T" "$M"; logger -p auth.info -t "$T" "$M"; done; done; '
    'logger -t systemd-logind "Session \\"$XDG_SESSION_ID\\" of user \\"forges\\" is idle, stopping."; '
    "printf 'MESSAGE=System is rebooting.\\nMESSAGE_ID=98268866d1d54a499c4e98921d93bc40\\n"
    "SYSLOG_IDENTIFIER=systemd-logind\\n' | logger --journald; "
    'printf "MESSAGE=Stopping\\nMESSAGE_ID=de5b426a63be47a7b6ac3eaac82e2f6f\\n'
    'UNIT=session-$XDG_SESSION_ID.scope\\nSYSLOG_IDENTIFIER=systemd\\n" | logger --journald; '
    'printf "MESSAGE=ended session\\nSYSLOG_IDENTIFIER=session-reaper\\nSESSIONOPS_OUTCOME=terminated\\n'
    'SESSIONOPS_USER=root\\nSESSIONOPS_FROM=6.6.6.6\\nSESSIONOPS_SESSION=x-$PPID-1\\n" | logger --journald; '
    "logger -t session-reaper 'ended session outcome=terminated user=root from=6.6.6.6 session=x-1-1'; "
    "echo for''ged"
)


class Endings:
    """Everybody comes, and leaves in their way."""

    def __init__(self, machine: Machine, stack: contextlib.ExitStack) -> None:
        self.machine, self.stack = machine, stack
        self.people: dict[str, Person] = {}
        self.folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.busy = threading.Event()  # from when on exits_late has typed enough

    def seat(self, *names: str, **clients: t.Sequence[str]) -> None:
        fresh = {name: Person(self.machine, name, client=clients.get(name, ())) for name in (*names, *clients)}
        for name, person in fresh.items():
            self.stack.callback(person.leaves)
            self.people[name] = person.at_prompt(60)

    def gone(self, *names: str, limit: float = 60) -> None:
        left = until(lambda: not [name for name in names if self.people[name].connected], limit)
        assert left, [name for name in names if self.people[name].connected]

    def __call__(self) -> None:
        machine = self.machine
        machine.exec(KEEP_JOURNAL)
        machine.exec(SETUP)
        # The timer's reaper ends nobody but one; it brings the engine and the command along.
        machine.role(
            "session_reaper",
            session_reaper_idle_timeout="none",
            session_reaper_period="5s",
            session_reaper_warn="5s",
            session_reaper_protect=["editors"],
            session_reaper_users={"is_reaped": {"idle_timeout": "30s"}},
        )
        # On a busy machine it may take others longer than this to be ended in their way.
        exempt = [
            case for case, causes in CASES.items() if case not in SHELLS and not {"exit", "idle_shell"} & {*causes}
        ]
        machine.role("shell_timeout", shell_timeout_idle_timeout=TMOUT, shell_timeout_exempt_users=exempt)
        if can("idles_logind", machine):
            machine.write("/etc/systemd/logind.conf.d/history.conf", f"[Login]\nStopIdleSessionSec={LOGIND_IDLE}\n")
            machine.exec("systemctl restart systemd-logind")
        sshd_config(machine)
        self._that_take_time()
        self._by_the_client()
        self._by_signals()
        self._refused()
        self._forged()
        self.busy.set()
        self.gone(*[name for name in self.people if name.startswith(("idles_", "exits_late", "is_reaped"))], limit=150)
        assert until(lambda: not machine.connections("freezes"), 30)  # the client itself notices nothing
        self._with_settings_of_their_own()

    def _type_and_exit(self) -> None:
        """Somebody types again and again for longer than TMOUT, and then leaves."""
        late = self.people["exits_late"]
        while not (self.busy.wait(TMOUT / 5) and time.time() > late.started + TMOUT + 5):
            late.type("true")
        late.type("exit")

    def _that_take_time(self) -> None:
        machine = self.machine
        shells = ["idles_bash", *SHELLS]
        self.seat("exits_late", *shells, "freezes", *["idles_logind"] * can("idles_logind", machine))
        self.people["freezes"].freeze()
        self.seat("is_reaped")
        self.people["is_reaped"].type("tmux new -d -s work && echo star''ted")
        threading.Thread(target=self._type_and_exit, daemon=True).start()
        self.grace = connect(machine, NAMELESS["waits_to_log_in"], seconds=30)
        self.stack.callback(self.grace.kill)

    def _by_the_client(self) -> None:
        machine = self.machine
        control = os.path.join(self.folder, "control")
        self.seat("exits")
        self.people["exits"].type("exit")
        self.seat("closes_window", "is_cut_off", types_tilde=machine.ssh_argv("types_tilde", "-tt"))
        machine.ssh("true", user="runs")
        scp = [word if word != "-p" else "-P" for word in machine.ssh_argv("copies")[1:-1]]
        copied = run(["scp", *scp, "/etc/hosts", "copies@127.0.0.1:hosts"])
        assert copied.returncode == 0, copied.stderr
        self.people["types_tilde"].key("Enter")
        time.sleep(0.5)
        self.people["types_tilde"].type("~.", enter=False)
        os.kill(self.people["closes_window"].pid, signal.SIGHUP)
        os.kill(self.people["is_cut_off"].pid, signal.SIGKILL)
        self.seat(multiplexes=machine.ssh_argv("multiplexes", "-tt", "-M", "-S", control))
        assert run(["ssh", "-S", control, "nobody@nowhere", "true"]).returncode, "MaxSessions did not count"
        self.people["multiplexes"].type("exit")
        self.seat("logs_in_twice")
        second = run([*machine.ssh_argv("logs_in_twice", "-tt"), "true"], timeout=30)
        third = None if machine.release != "trixie" else second  # pam_limits counts differently there
        if machine.release != "trixie":
            with Person(machine, "logs_in_twice") as again:
                again.at_prompt()
                third = run([*machine.ssh_argv("logs_in_twice", "-tt"), "true"], timeout=30)
                again.type("exit")
                again.leaves_within(10)
        assert third.returncode, "maxlogins did not count"
        self.people["logs_in_twice"].type("exit")
        reset = subprocess.Popen(
            ssh_from_there(machine, "is_reset", THERE + "10"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.stack.callback(reset.kill)
        assert until(lambda: len(machine.connections("is_reset")) == 2, 20)
        time.sleep(1)
        inside(machine, f"ip netns exec there ss -K dst {HERE} dport = 22 src {THERE}10")
        assert until(lambda: not machine.connections("is_reset"), 20), "the reset did not reach sshd"
        self.gone("exits", "types_tilde", "closes_window", "is_cut_off", "multiplexes", "logs_in_twice")

    def _by_signals(self) -> None:
        machine = self.machine
        self.seat("is_terminated", "loses_priv", "loses_child", "has_priv_told", "is_logged_out")
        machine.exec(f"kill -KILL {process(machine, 'loses_priv', True)}")
        machine.exec(f"kill -KILL {process(machine, 'loses_child', False)}")
        machine.exec(f"kill -TERM {process(machine, 'has_priv_told', True)}")
        inside(
            machine,
            "loginctl list-sessions --no-legend | awk '$3 == \"is_logged_out\" {print $1}' | "
            "xargs loginctl terminate-session",
        )
        self.people["loses_priv"].type("exit")  # its sshd lives on, unsupervised
        ended = machine.module(
            "session_terminate", users=["is_terminated"], min_age=0, warn_grace=0, reason="tried, OPS-1"
        )
        assert [s["outcome"] for s in ended["sessions"]] == ["terminated"], ended
        self.gone("is_terminated", "loses_priv", "loses_child", "has_priv_told", "is_logged_out")

    def _refused(self) -> None:
        machine = self.machine
        if can("is_locked_out", machine):
            locked = run(ssh_from_there(machine, "is_locked_out", NAMELESS["is_locked_out"], "true"), timeout=30)
            assert locked.returncode
        assert until(lambda: self.grace.poll() is not None, 60)

    def _forged(self) -> None:
        """A user who writes what sshd, systemd and we write, of their own session and of others'."""
        machine = self.machine
        self.seat("forges")
        self.people["forges"].type(FORGE)
        self.people["forges"].reads("^forged$", 30)
        for name in ("root from 6.6.6.6 port 6 ssh2", "x] Accepted publickey for root from 6.6.6.6 port 6 ssh2 ["):
            assert run([*machine.ssh_argv("-")[:-1], "-o", "BatchMode=yes", "-l", name, "127.0.0.1", "true"]).returncode
        self.people["forges"].type("exit")
        self.gone("forges")

    def _quietly(self) -> None:
        machine = self.machine
        sshd_config(machine, level="INFO")
        self.seat("quietly_exits")
        self.people["quietly_exits"].type("exit")
        self.seat("quietly_hangs_up", "quietly_is_cut", "quietly_is_killed")
        os.kill(self.people["quietly_hangs_up"].pid, signal.SIGHUP)
        os.kill(self.people["quietly_is_cut"].pid, signal.SIGKILL)
        machine.exec(f"kill -KILL {process(machine, 'quietly_is_killed', False)}")
        self.gone("quietly_exits", "quietly_hangs_up", "quietly_is_cut", "quietly_is_killed")
        if can("quietly_idles", machine):
            sshd_config(machine, "ChannelTimeout session:*=4", level="INFO")
            self.seat("quietly_idles")
            self.gone("quietly_idles")

    def _with_settings_of_their_own(self) -> None:
        machine = self.machine
        if can("idles_channel", machine):
            sshd_config(machine, "ChannelTimeout session:*=4")
            self.seat("idles_channel")
            self.gone("idles_channel")
        sshd_config(machine, "MaxStartups 2")
        held = connect(machine, NAMELESS["is_one_too_many"], count=3, seconds=3)
        held.wait(30)
        if can("is_penalised", machine):
            address = NAMELESS["is_penalised"]
            sshd_config(machine, "PerSourcePenalties noauth:30 min:1", "PerSourceNetBlockSize 32:128")
            for _try in range(3):
                connect(machine, address, seconds=0).wait(30)
                time.sleep(1)
        if can("forwards", machine):
            sshd_config(machine)
            assert run(machine.ssh_argv("forwards", "-N"), timeout=60).returncode
        self._quietly()


def restart(machine: Machine, stack: contextlib.ExitStack) -> None:
    """The host goes down with somebody on it, and comes back."""
    person = Person(machine, "is_shut_down")
    stack.callback(person.leaves)
    person.at_prompt(60)
    enter, container = shlex.split(machine.variables["testhost_enter"]), machine.variables["testhost_container"]
    machine.exec("systemctl reboot", check=False)
    state = [*enter, "podman", "inspect", "--format", "{{.State.Running}}", container]
    assert until(lambda: run(state).stdout.strip() == "false", 60), "the host did not go down"
    assert run([*enter, "podman", "start", container]).returncode == 0
    testhost("up", f"{machine.name}={machine.image}")
    machine.exec(KEEP_JOURNAL)
