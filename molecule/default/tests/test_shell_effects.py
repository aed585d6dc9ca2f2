# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role shell_timeout does to people at prompts, and what it leaves alone."""

from __future__ import annotations

import concurrent.futures
import re
import time

import pytest
from realhosts import RELEASES, applied, inside, over_ssh, run

SNIPPET = "/etc/profile.d/00-session-policy.sh"
LOGIN_SHELLS = {
    "alice": "/bin/bash",
    "bob": "/bin/ksh93",
    "carol": "/bin/zsh",
    "dave": "/bin/tcsh",
    "mike": "/bin/mksh",
    "dan": "/bin/dash",
}
EXEMPT = {"exempt_users": ["erin"], "exempt_groups": ["operators"]}
CALM = 600
SECONDS = 20  # Long enough that everybody is seen at the prompt on a busy machine, too.
# From the prompt on. ksh93 gives a minute's grace, tcsh counts minutes; the upper bounds leave a busy machine time.
ENDS = {
    "alice": (SECONDS, SECONDS + 24),
    "bob": (SECONDS + 60, SECONDS + 104),
    "carol": (SECONDS, SECONDS + 24),
    "dave": (60, 100),
    "mike": (SECONDS, SECONDS + 24),
}


@pytest.fixture(params=sorted(RELEASES.values()))
def host(request, hosts):
    return hosts[request.param]


@pytest.fixture(scope="module")
def apply(fleet):
    """apply(**variables): the role on all hosts."""
    return lambda **variables: applied(fleet, "shell_timeout", **variables)


@pytest.fixture(scope="module", autouse=True)
def accounts(hosts):
    for host in hosts.values():
        lines = ["groupadd operators; useradd -m -s /bin/bash -G operators olga"]
        for user, shell in LOGIN_SHELLS.items():
            lines.append(f"id {user} >/dev/null 2>&1 || useradd -m {user}; usermod -s {shell} {user}")
        for user in [*LOGIN_SHELLS, "olga"]:
            lines.append(f"install -d -o {user} -m 700 /home/{user}/.ssh; touch /home/{user}/.zshrc")
            lines.append(f"install -o {user} -m 600 /root/.ssh/authorized_keys /home/{user}/.ssh/authorized_keys")
        inside(host, "\n".join(lines))


@pytest.fixture(scope="module")
def calm(apply):
    return apply(idle_timeout=CALM, **EXEMPT)


ASK = 'if (TMOUT=1) 2>/dev/null; then s=rw; else s=ro; fi; echo "<$TMOUT $s $(sh -c "echo \\$TMOUT")>"'


WAYS = (
    "",
    "sudo -s",
    "sudo bash",
    "sudo -i",
    "sudo su -",
    "sudo su - alice",
    "sudo su alice",
    "bash",
    "tmux",
    "sudo -u carol zsh -i",
    "sudo -u bob ksh -l",
)


def test_every_way_to_a_prompt_has_the_timeout(calm, host, login):
    people = {}
    for way in WAYS:  # One after the other: sshd's MaxStartups refuses a crowd.
        people[way] = person = login(host, "admin").at_prompt()
        person.type(f"clear; {way}")
    time.sleep(2)
    seen = {}
    for way, person in people.items():
        person.type(f"clear; {ASK}")
        seen[way] = person.reads(r"^<(.*)>").group(1)
        person.leaves()
    assert seen == dict.fromkeys(WAYS, f"{CALM} ro {CALM}")


def test_second_run_changes_nothing(calm, apply):
    assert set(apply(idle_timeout=CALM, **EXEMPT).changed) == {0}


SHELLS = ("bash --norc", "bash --posix", "ksh93", "mksh", "zsh -f", "zsh --emulate sh", "dash")


@pytest.mark.parametrize("first", ["", "readonly TMOUT=0; ", "readonly TMOUT; "])
def test_sourcing_twice_is_silent(calm, host, first):
    script = ["unset TMOUT; export ENV= HOME=/nowhere"]
    for shell in SHELLS:
        script.append(f"{shell} -ic '{first}. {SNIPPET}; . {SNIPPET}; echo said ${{TMOUT-}}'")
        script.append(f"{shell} -c 'set -eu; {first}. {SNIPPET}; . {SNIPPET}; . /etc/profile; echo went on'")
    said = over_ssh(host, "alice", "\n".join(script), "-tt").stdout.splitlines()
    said = [line for line in said if line]  # An interactive ksh93 of Debian 11 ends with an empty line.
    for shell in SHELLS:
        value = said.pop(0).split()
        assert value[:1] == ["said"], (shell, value)
        assert value[1:] == [str(CALM)] if not first else value[1:] in ([], ["0"]), (shell, value)
        assert said.pop(0) == "went on", shell
    assert said == []


def test_nothing_is_said_where_nobody_types(calm, host):
    for user in LOGIN_SHELLS:
        done = over_ssh(host, user, "true")
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0), user
        assert inside(host, f"su - {user} -c 'echo only this' 2>&1 </dev/null") == "only this\n"


def test_file_transfers_work(calm, host, tmp_path):
    (tmp_path / "sent").write_text("text")
    for user in ("alice", "carol", "dave"):
        options = [word.replace("-p", "-P") if word == "-p" else word for word in host.ssh_argv(user)[1:-1]]
        where = f"{user}@127.0.0.1"
        run(["scp", "-q", *options, tmp_path / "sent", f"{where}:there"], check=True)
        run(["sftp", "-q", "-b", "-", *options, where], input=f"get there {tmp_path}/{user}\n", check=True)
        assert (tmp_path / user).read_text() == "text"


@pytest.mark.parametrize("user", ["erin", "olga"])
def test_exempt_users_have_none(calm, host, login, user):
    person = login(host, user).at_prompt()
    person.type("clear; " + ASK)
    assert person.reads(r"^<(.*)>").group(1).split() == ["rw"]
    person.leaves()


def test_foreign_setter_is_silent_named_and_kept(host, hosts, login, apply, calm):
    foreign = "/etc/profile.d/00-earlier.sh"
    try:
        inside(host, f"echo 'readonly TMOUT=0' > {foreign}")
        said = apply(idle_timeout=CALM, **EXEMPT).output
        assert f"{foreign}:1" in said
        assert inside(host, f"cat {foreign}") == "readonly TMOUT=0\n"
        # mksh and dash read profile.d alone: the foreign line comes first there, and our file must not complain.
        for user in ("mike", "dan"):
            person = login(host, user).at_prompt()
            assert "TMOUT" not in person.screen()
            person.leaves()
        # bash reads the global bashrc before profile.d: there ours comes first.
        person = login(host, "alice").at_prompt()
        person.type("clear; " + ASK)
        assert person.reads(r"^<(.*)>").group(1) == f"{CALM} ro {CALM}"
        person.leaves()
    finally:
        inside(host, f"rm -f {foreign}")


def test_both_forms_that_scanners_look_for(calm, host):
    text = inside(host, f"cat {SNIPPET}")
    assert re.findall(r"^\s*(?:typeset|declare)\s+-xr\s+TMOUT=([\w$]+).*$", text, re.M) == [str(CALM)]
    assert re.findall(r"^\s*TMOUT=([\w$]+)\s*readonly TMOUT\s*export TMOUT$", text, re.M) == [str(CALM)]


def test_shells_without_a_timeout_are_named(calm):
    assert "dash has no idle timeout, and is the login shell of dan" in calm.output


@pytest.fixture(scope="module")
def idle(apply, hosts, login):
    """Everybody logs in at once and does nothing until the slowest shell is over its time."""
    apply(idle_timeout=SECONDS, **EXEMPT)
    people = {(name, user): login(host, user) for name, host in hosts.items() for user in (*LOGIN_SHELLS, "erin")}
    people.update({(name, "editor"): login(host, "alice") for name, host in hosts.items()})

    def settle(who):
        people[who].at_prompt(60)
        if who[1] == "editor":
            people[who].type("vim.basic -u NONE")

    with concurrent.futures.ThreadPoolExecutor(len(people)) as at_once:
        list(at_once.map(settle, people))
    end = time.time() + max(latest for _earliest, latest in ENDS.values())
    while time.time() < end and any(people[n, u].ended_after is None for n in hosts for u in ENDS):
        time.sleep(1)
    yield people
    for person in people.values():
        person.leaves()


@pytest.mark.parametrize("user", list(ENDS))
def test_idle_login_is_ended(idle, host, user):
    earliest, latest = ENDS[user]
    seconds = idle[host.image, user].ended_after
    assert seconds is not None, idle[host.image, user].screen()
    # The prompt is seen later than it stands there, on a busy machine by seconds.
    assert earliest <= idle[host.image, user].lived
    assert seconds <= latest
    print(f"{host.release} {LOGIN_SHELLS[user]}: {seconds:.1f} s")


@pytest.mark.parametrize("user", ["erin", "editor", "dan"])
def test_login_is_not_ended(idle, host, user):
    """An exempt user, an editor in front, a shell without such a clock."""
    assert idle[host.image, user].ended_after is None


def test_absent_takes_all_of_it_away(apply, hosts):
    apply(state="absent")
    before = {name: host.tree("/etc", "/var/lib") for name, host in hosts.items()}
    assert "session-policy" not in "".join(before.values())
    changed = apply(idle_timeout=CALM, **EXEMPT).changed
    assert set(changed) == {1}
    apply(idle_timeout=CALM + 1)
    apply(state="absent")
    assert {name: host.tree("/etc", "/var/lib") for name, host in hosts.items()} == before
