# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tmux and screen that lock and unlock before somebody's eyes, logins that tmux can't spoil, work that survives."""

from __future__ import annotations

import contextlib
import re
import shlex
import time

import pytest
from realhosts import Person, until

AFTER = 6
PASSWORD = "open sesame"
CONF = "/etc/tmux.conf"
WATCHED = ("/etc", "/var/lib/systemd/linger")
# A configuration of somebody's own, without a newline at its end.
OWN = "# ours\nset -g status-right here"
ROLE = {
    "multiplexer_lock_lock_timeout": f"{AFTER}s",
    "multiplexer_lock_tmux_login_shell": False,
    "multiplexer_lock_start_at_login": True,
    "multiplexer_lock_linger_users": ["bob", "carol"],
    "multiplexer_lock_exempt_users": ["dave"],
}


def role(machine, *argv, **kw):
    return machine.role("multiplexer_lock", *argv, **{**ROLE, **kw})


@pytest.fixture(scope="module")
def before(machine):
    """What was on the host before the role came; carol lingers already."""
    machine.exec(f"for u in alice bob dave; do echo $u:{shlex.quote(PASSWORD)}; done | chpasswd")
    machine.exec("loginctl enable-linger carol")
    machine.write(CONF, OWN, mode="0600")
    # Readable for the users is what it becomes and stays.
    return machine.tree(*WATCHED).replace(f"{CONF} f 600", f"{CONF} f 644")


@pytest.fixture(scope="module")
def locked(machine, before):
    said = role(machine, "--check").stdout
    assert "changed=1 " in said and machine.tree(*WATCHED).replace(f"{CONF} f 600", f"{CONF} f 644") == before
    role(machine)
    return machine


@pytest.fixture
def arrives(locked):
    """Somebody logs in and is in a tmux that the login started."""
    with contextlib.ExitStack() as stack:

        def one(user, *command, inside=r"^\[\S+ +0:"):
            person = stack.enter_context(Person(locked, user, *command))
            person.reads(inside)
            return person

        yield one


@pytest.fixture(scope="module")
def left_alone(locked):
    """People who typed something and left their terminals, all at once, and when that was."""
    with contextlib.ExitStack() as stack:
        people = {user: stack.enter_context(Person(locked, user)) for user in ("alice", "dave")}
        # A command is no login with a shell: no tmux around it.
        people["screen"] = stack.enter_context(Person(locked, "bob", "screen"))
        for name, person in people.items():
            if name == "screen":
                person.reads("Press Space or Return")
                person.key("Space")
            else:
                person.reads(r"^\[\S+ +0:")
            # tmux before 3.2 counts from the first key on.
            person.type("clear; echo secret plans")
            person.reads("^secret plans")
        yield people, time.time()


def unlock(person, prompt, password=PASSWORD):
    person.reads(prompt)
    person.type(password)


def test_a_tmux_left_alone_locks_and_unlocks(left_alone):
    alice = left_alone[0]["alice"]
    alice.reads("This TTY is now locked", AFTER + 15)
    assert "secret plans" not in alice.screen()
    alice.key("Enter")
    unlock(alice, "alice's Password:", "wrong")
    alice.reads("Authentication failure")
    assert "secret plans" not in alice.screen()
    # Then root's would do, and then it begins anew.
    unlock(alice, "root's Password:", "wrong, too")

    def opened():
        alice.key("Enter")
        with contextlib.suppress(AssertionError):
            alice.reads(r"alice's Password:\s*\Z", 5)
            alice.type(PASSWORD)
        return until(lambda: re.search("^secret plans", alice.screen(), re.M), 5)

    assert until(opened, 30), alice.screen()
    alice.type("clear; echo open-$((6 * 7))")
    alice.reads("^open-42")


def test_a_screen_left_alone_locks_and_unlocks(left_alone):
    bob = left_alone[0]["screen"]
    bob.reads(r"Screen used by .*\n+Password:", AFTER + 15)
    assert "secret plans" not in bob.screen()
    bob.type("wrong")
    # pam_unix takes its time over a wrong password, and then screen asks again.
    assert until(lambda: bob.screen().count("Password:") > 1, 15)
    assert "secret plans" not in bob.screen()
    bob.type(PASSWORD)
    bob.reads("^secret plans", 15)


def test_an_exempt_user_is_not_locked(left_alone):
    people, left = left_alone
    time.sleep(max(0, left + AFTER + 4 - time.time()))
    said = people["dave"].screen()
    assert "secret plans" in said and "locked" not in said


def test_nothing_reaches_the_shell_behind_the_lock_and_the_key_locks_at_once(locked, arrives):
    alice = arrives("alice")
    alice.type("clear; echo here-$((6 * 7))")
    alice.reads("^here-42")
    alice.key("C-b", "X")
    alice.reads("This TTY is now locked", 5)
    alice.type("touch /tmp/through")
    alice.key("C-c", "C-z", "C-d", "C-b", "d")
    alice.type("touch /tmp/through")
    time.sleep(2)
    assert "here-42" not in alice.screen()
    assert locked.exec("ls /tmp/through", check=False).returncode != 0


# --- a login must still end in a shell ----------------------------------------------------------------------------

SPOILED = {
    "no such command": f"printf '\\n}}{{ what is this\\n' >> {CONF}",
    "it ends at once": f"printf '\\nkill-server\\n' >> {CONF}",
    "its shell ends at once": f"printf '\\nset -g default-command false\\n' >> {CONF}",
    "it hangs": f"printf '\\nrun-shell \"sleep 600\"\\n' >> {CONF}",
    "it is no program": "mv /usr/bin/tmux /usr/bin/tmux.real; echo nonsense > /usr/bin/tmux; chmod +x /usr/bin/tmux",
    "it hangs itself": "mv /usr/bin/tmux /usr/bin/tmux.real; printf '#!/bin/sh\\nexec sleep 600\\n' > /usr/bin/tmux;"
    "chmod +x /usr/bin/tmux",
    "it is gone": "mv /usr/bin/tmux /usr/bin/tmux.real",
    "no place for its socket": "rm -rf /tmp/tmux-$(id -u erin); touch /tmp/tmux-$(id -u erin)",
}
REPAIRED = f"""
cp -p /root/tmux.conf {CONF}; test ! -e /usr/bin/tmux.real || mv /usr/bin/tmux.real /usr/bin/tmux
rm -rf /tmp/tmux-$(id -u erin)
"""


def gets_a_shell(person, limit=30):
    """Whatever is on the screen, of a tmux that complains for example, the next line typed is run by a shell."""

    def answered():
        person.key("q", "C-u")
        person.type("echo in-$((6 * 7))")
        return until(lambda: re.search("^in-42", person.screen(), re.M), 2)

    return until(answered, limit)


def test_a_tmux_that_is_broken_lets_everybody_in(locked):
    locked.exec(f"cp -p {CONF} /root/tmux.conf")
    for how, spoil in SPOILED.items():
        locked.exec(spoil)
        try:
            with Person(locked, "erin") as erin:
                assert gets_a_shell(erin), (how, erin.screen())
        finally:
            locked.exec("for p in $(pgrep -u erin tmux) $(pgrep -u erin sleep); do kill -9 $p; done; true")
            locked.exec(REPAIRED)


def test_a_server_that_is_stopped_and_an_unknown_terminal_let_everybody_in(locked, arrives):
    erin = arrives("erin")
    (server,) = locked.exec("pgrep -u erin -f '^tmux new-session'").stdout.split()
    locked.exec(f"kill -STOP {server}")
    try:
        with Person(locked, "erin") as again:
            again.reads("does not answer: going on without it", 20)
            again.at_prompt()
    finally:
        locked.exec(f"kill -CONT {server}; kill {server}")
    erin.leaves()
    with Person(locked, "erin", client=["env", "TERM=nonsense", *locked.ssh_argv("erin", "-tt")]) as strange:
        strange.reads("missing or unsuitable terminal", 20)
        strange.at_prompt()
    locked.exec("for p in $(pgrep -u erin tmux); do kill $p; done; true")


def test_what_is_no_login_with_a_terminal_starts_none(locked):
    assert locked.ssh("echo ${TMUX-none}", "erin") == "none\n"
    assert locked.exec("su - erin -c 'echo ${TMUX-none}' </dev/null").stdout == "none\n"


# --- work that survives -------------------------------------------------------------------------------------------


def end_sessions(machine, user):
    """As logind ends an idle session: all that is in its scope."""
    for number in machine.exec(
        f"loginctl list-sessions --no-legend | awk '$3 == \"{user}\" {{print $1}}'"
    ).stdout.split():
        machine.exec(f"loginctl terminate-session {number}", check=False)


def test_work_of_those_who_linger_survives_and_a_dropped_connection_goes_on(locked, arrives):
    people = {user: arrives(user) for user in ("bob", "erin")}
    for user, person in people.items():
        person.type(f"clear; echo work of {user}; exec -a work-of-{user} sleep 600")
        person.reads(f"^work of {user}")
    assert locked.exec("pgrep -fc '^work-of-'").stdout == "2\n"
    for user in people:
        end_sessions(locked, user)
    assert until(lambda: not any(person.connected for person in people.values()), 20)
    assert until(lambda: locked.exec("pgrep -fa '^work-of-'").stdout.split()[1:2] == ["work-of-bob"], 20)
    again = arrives("bob", inside="^work of bob")
    assert "0:" in again.screen()
    locked.exec("kill $(pgrep -f '^work-of-bob')")


# --- files --------------------------------------------------------------------------------------------------------


def judged(machine, **wanted):
    answer = machine.module("policy_info", wanted={"layers": ["multiplexer"], **wanted})
    return [(f["setting"], f["shell"], f["user"], f["in_force"], f["compliant"]) for f in answer["findings"]]


WANTED = {"lock_timeout": AFTER, "tmux_login_shell": False, "linger_users": ["bob", "carol"], "exempt_users": ["dave"]}


def test_it_is_proved_and_a_second_run_changes_nothing(locked):
    assert "changed=0 " in role(locked).stdout
    assert judged(locked, **WANTED) == [
        ("lock_timeout", "tmux", None, AFTER, True),
        ("lock_timeout", "tmux", "dave", None, True),
        ("lock_timeout", "screen", None, AFTER, True),
        ("tmux_login_shell", None, None, False, True),
        ("linger_users", None, None, "bob, carol", True),
    ]
    assert locked.exec("grep -ci tmux /etc/shells", check=False).stdout == "0\n"
    assert locked.exec("stat -c %a /etc/tmux.conf").stdout == "644\n"


def test_one_user_who_does_not_exist_leaves_everything_as_it_was(locked):
    now = locked.tree(*WATCHED)
    done = role(locked, check=False, multiplexer_lock_lock_timeout=99, multiplexer_lock_linger_users=["nobody-here"])
    assert done.returncode and "nobody-here" in done.stdout
    assert locked.tree(*WATCHED) == now
    assert locked.exec("loginctl show-user bob --property=Linger").stdout == "Linger=yes\n"


def test_what_others_change_is_named(locked):
    locked.exec(f"cp -p {CONF} /root/kept; cp -p /etc/screenrc /root/screenrc")
    locked.exec(f"printf '\\nset -g lock-after-time 0\\n' >> {CONF}; echo 'idle off' >> /etc/screenrc")
    locked.exec("echo /usr/bin/tmux >> /etc/shells; loginctl disable-linger carol; mv /usr/bin/vlock /usr/bin/gone")
    try:
        answer = locked.module("policy_info", wanted={"layers": ["multiplexer"], **WANTED})
        failed = {(f["setting"], f["shell"]): f for f in answer["findings"] if f["compliant"] is False}
        assert set(failed) == {("lock_timeout", "tmux"), ("lock_timeout", "screen"), ("tmux_login_shell", None),
                               ("linger_users", None)}  # fmt: skip
        assert failed["lock_timeout", "tmux"]["overridden_by"].startswith("/etc/tmux.conf:")
        assert failed["lock_timeout", "screen"]["overridden_by"].endswith(" idle off")
        assert failed["linger_users", None]["why"] == "carol does not linger"
        locked.exec(f"cp -p /root/kept {CONF}")
        answer = locked.module("policy_info", wanted={"layers": ["multiplexer"], "lock_timeout": AFTER})
        assert "which is not there: nothing is locked" in answer["findings"][0]["why"]
    finally:
        locked.exec(f"mv /usr/bin/gone /usr/bin/vlock; loginctl enable-linger carol; cp -p /root/kept {CONF};"
                    "cp -p /root/screenrc /etc/screenrc")  # fmt: skip
    # The line in /etc/shells came back, as an upgrade of the package brings it: it goes once more.
    assert "changed=1 " in role(locked).stdout
    assert locked.exec("grep -ci tmux /etc/shells", check=False).stdout == "0\n"


def test_it_goes_away_byte_for_byte(locked, before):
    role(locked, multiplexer_lock_state="absent")
    assert locked.tree(*WATCHED) == before
    assert locked.exec("ls /var/lib/session-policy", check=False).returncode != 0
    assert "changed=0 " in role(locked, multiplexer_lock_state="absent").stdout
