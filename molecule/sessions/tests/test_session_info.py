# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What session_info says of real sessions; they are all started once for each host, and looked at together."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

SETUP = r"""
set -eu
cat > /etc/ssh/sshd_config.d/50-people.conf <<'CONF'
MaxStartups 200
Match User erin
  ForceCommand internal-sftp
CONF
(systemctl reload ssh || service ssh reload) >/dev/null
id ghost >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ghost
mkdir -p /home/ghost/.ssh
cp /home/alice/.ssh/authorized_keys /home/ghost/.ssh/
chown -R ghost: /home/ghost
test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
for home in /home/*; do cat /root/.ssh/id_ed25519.pub >> "$home/.ssh/authorized_keys"; done
printf 'Host *\n  StrictHostKeyChecking no\n' > /root/.ssh/config
head -c 4000000 /dev/urandom > /root/big
echo 'bob:secret' | chpasswd
mkdir -p /root/.putty/sessions
printf 'HostName=127.0.0.1\nUserName=bob\nPingInterval=0\nPingIntervalSecs=1\n' > /root/.putty/sessions/keepalive
"""


def big(people):
    path = people.folder / "big"
    path.write_bytes(os.urandom(1 << 16) * 64)
    return path


@pytest.fixture(scope="module")
def seen(host, people):
    """Everybody comes, does what they do, and is looked at: with two looks, as root."""
    host.ssh(SETUP)
    p, path = people, big(people)
    scp = ["-P", p.port, *p.options]
    master = f"ControlPath={p.folder}/cm"

    p.login("idle", "alice")
    p.login("vim", "alice")
    p.login("nano", "alice")
    p.login("nvim", "alice")
    p.login("exec", "bob", "sleep 5000")
    p.open("sftp", ["sftp", *scp, "bob@127.0.0.1"])
    batch = people.folder / "batch"
    batch.write_text(f"put {path} up1\n")
    p.open("upload", ["sftp", "-l", "400", "-R", "1", "-B", "4096", "-b", batch, *scp, "bob@127.0.0.1"])
    p.open("scp", ["scp", "-O", "-l", "400", *scp, path, "bob@127.0.0.1:up2"])
    p.inside("rsync", "rsync", "--bwlimit=50", "/root/big", "bob@127.0.0.1:up3")
    p.open("internal", ["sftp", *scp, "erin@127.0.0.1"])
    options = ["-N", "-o", "ServerAliveInterval=1", "-L", f"{p.folder}/through:127.0.0.1:22"]
    p.login("forward", "dave", options=options)
    p.login("mux1", "carol", options=["-M", "-o", master])
    p.login("tmux", "dave", "tmux new -s work", options=["-t"])
    p.login("tmuxes", "dave")
    p.login("screen", "dave")
    p.login("sudo", "admin")
    p.login("jobs", "carol")
    p.login("liar", "carol")
    p.login("stopped", "alice")
    p.login("flood", "bob", "yes abcdefghijklmnopqrstuvwxyz", options=["-tt"])
    p.login("held", "carol", "sleep 4999 & exit")
    p.login("ghost", "ghost")
    p.login("db", "alice")
    for name in (
        "idle",
        "vim",
        "nano",
        "nvim",
        "mux1",
        "tmuxes",
        "screen",
        "sudo",
        "jobs",
        "liar",
        "stopped",
        "ghost",
        "db",
    ):
        p.await_screen(name, "$")
    p.login("mux2", "carol", options=["-o", master])
    p.login("mux3", "carol", "sleep 4998", options=["-o", master])
    p.login("control", "bob", options=["-M", "-N", "-o", f"ControlPath={p.folder}/cm2"])
    # A server that detaches itself from its ssh command, as remote editors do, and a nohup: both outlive it.
    host.ssh("setsid sh -c 'exec sleep 4997' >/dev/null 2>&1 </dev/null &", user="dave")
    host.ssh("nohup sleep 4996 >/dev/null 2>&1 </dev/null &", user="dave")
    p.inside("console", "script", "-qfc", "exec agetty --autologin carol --noclear - linux", "/dev/null")
    key = host.ssh("ssh-keygen -E md5 -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1].replace("MD5:", "")
    p.inside("plink", "script", "-qfc", f"plink -batch -hostkey {key} -pw secret -load keepalive", "/dev/null")
    mosh = "LC_ALL=C.UTF-8 TERM=xterm exec mosh dave@127.0.0.1"
    p.inside("mosh", "script", "-qfc", mosh, "/dev/null")

    p.type("vim", "vim notes.txt", "Enter")
    p.type("nano", "nano plan.txt", "Enter")
    p.type("nvim", "nvim ideas.txt", "Enter")
    p.type("tmuxes", "tmux -L other new -d -s bg; tmux -S /tmp/dave.sock new -d -s sock", "Enter")
    p.type("screen", "screen -dmS away; screen -S here", "Enter")
    p.type("sudo", "sudo -i", "Enter")
    p.type("jobs", "sleep 4000 & sleep 4001", "Enter")
    p.type(
        "liar",
        r"cp /usr/bin/vim.basic tool; (exec -a vim sleep 4002) & cp /bin/sleep $'a) R 1\n\e[31m'; ./a* 4003 & ./tool x",
        "Enter",
    )
    p.type("db", "sqlite3 data.db", "Enter")
    p.type("stopped", "while sleep 0.2; do date; done", "Enter")
    p.await_screen("vim", "~")
    p.await_screen("sudo", "#")
    p.type("vim", "ihello world")
    p.type("jobs", "C-z")
    p.type("sudo", "su - alice", "Enter")
    p.type("db", "create table t(a); begin exclusive;", "Enter")
    p.type("stopped", "C-s")
    through = socket.socket(socket.AF_UNIX)
    through.connect(f"{p.folder}/through")
    assert through.recv(4) == b"SSH-"  # a connection through the forward, and then silence
    time.sleep(3)
    p.freeze("flood")
    p.freeze("upload")
    host.ssh("userdel -f ghost 2>/dev/null; true")
    time.sleep(4)
    result = host.module("session_info", gather_subset=["sessions", "leftovers", "limits"], sample=4, unresponsive=True)
    assert not result.get("failed"), result
    (p.folder / "seen.json").write_text(json.dumps(result, indent=1))
    through.close()
    return result


def sessions(seen, **wanted):
    return [s for s in seen["sessions"] if all(s[k] == v for k, v in wanted.items())]


def at_work(seen, kind, program):
    """The one session with this work."""
    found = [s for s in seen["sessions"] if any(w["program"] == program for w in s["work"][kind])]
    assert len(found) == 1, (kind, program, found)
    return found[0], [w for w in found[0]["work"][kind] if w["program"] == program]


def test_idle_terminal(seen):
    quiet = [s for s in sessions(seen, user="alice", kind="terminal") if s["work"]["foreground"] == ["bash"]]
    assert quiet
    one = min(quiet, key=lambda s: s["leader"]["pid"])
    assert one["idle"] >= 6 and one["idle_signal"] == "tty_input"
    assert one["remote_host"] and one["remote_port"] and one["service"] == "sshd" and one["state"] == "active"
    assert len(one["ttys"]) == 1 and {"proc", "logind"} <= set(one["seen_by"])
    assert one["class"] == "user" and one["peer_unresponsive"] is False and not one["protected"]


def test_utmp_is_merged_where_there_is_one(host, seen):
    with_utmp = [s for s in sessions(seen, kind="terminal") if "utmp" in s["seen_by"]]
    assert bool(with_utmp) == (host.image != "trixie")


def test_editors(seen):
    session, (vim,) = vim_of_alice(seen)
    assert vim["known_by"] == "executable"
    assert vim["files"] == ["/home/alice/notes.txt"] and vim["swap"] == ["/home/alice/.notes.txt.swp"]
    assert session["protected_because"] == ["editors"]
    _session, (nano,) = at_work(seen, "editors", "nano")
    assert nano["files"] == ["/home/alice/plan.txt"] and nano["known_by"] == "executable"
    _session, found = at_work(seen, "editors", "nvim")
    assert ["/home/alice/ideas.txt"] in [w["files"] for w in found]


def vim_of_alice(seen):
    found = [(s, s["work"]["editors"]) for s in sessions(seen, user="alice") if
             any(w["program"] == "vim" for w in s["work"]["editors"])]  # fmt: skip
    assert len(found) == 1
    return found[0]


def test_who_only_calls_itself_vim_is_said_to_be_so(seen):
    liar = [s for s in sessions(seen, user="carol") if len(s["work"]["editors"]) == 2]
    assert len(liar) == 1
    by = {w["known_by"]: w for w in liar[0]["work"]["editors"]}
    assert by["name"]["executable"].endswith("/sleep")
    assert by["content"]["executable"] == "/home/carol/tool"
    assert any("\\x0a\\x1b[31m" in p["command"] for p in liar[0]["processes"]), liar[0]["processes"]
    assert "\x1b" not in json.dumps(liar[0])


def test_command_over_ssh(seen):
    found = [s for s in sessions(seen, user="bob", kind="exec") if s["work"]["foreground"] == ["sleep"]]
    assert len(found) == 1
    assert found[0]["ttys"] == [] and found[0]["idle_signal"] == "process_io" and found[0]["idle"] == 4


def test_transfers(seen):
    sftp = sessions(seen, user="bob", kind="sftp")
    assert len(sftp) == 4, sftp
    quiet = [s for s in sftp if not s["work"]["transfers"]]
    assert len(quiet) == 1 and quiet[0]["idle"] >= 4
    going = {w["files"][0]: (s, w) for s in sftp for w in s["work"]["transfers"] if w["files"]}
    stalled = going["/home/bob/up1"]
    assert stalled[1]["rate"] == 0 and stalled[1]["program"] == "sftp-server" and stalled[0]["idle"] == 4
    session, scp = going["/home/bob/up2"]
    assert (
        scp["program"] == "scp"
        and scp["rate"] > 10000
        and session["idle"] == 0
        and "transfers" in session["protected_because"]
    )
    rsync = [w for s in sftp for w in s["work"]["transfers"] if w["program"] == "rsync"]
    assert rsync and any(name.startswith("/home/bob/.up3.") for w in rsync for name in w["files"])


def test_internal_sftp(seen):
    (session,) = sessions(seen, user="erin")
    assert session["kind"] == "sftp" and [c["kind"] for c in session["channels"]] == ["sftp"]


def test_forwarding_only(seen):
    found = sessions(seen, user="bob", kind="forward")
    assert found and all(s["channels"] == [] and s["idle_signal"] == "socket" and s["idle"] >= 4 for s in found)


def test_keepalives_do_not_look_like_forwarded_traffic(seen):
    (session,) = sessions(seen, user="dave", kind="forward")
    assert session["idle"] >= 6 and session["idle_signal"] == "socket"


def test_several_sessions_over_one_connection(seen):
    found = [s for s in sessions(seen, user="carol") if len(s["channels"]) == 3]
    assert len(found) == 1
    assert sorted(c["kind"] for c in found[0]["channels"]) == ["exec", "terminal", "terminal"]
    assert len(found[0]["ttys"]) == 2 and found[0]["idle"] == 4


def test_multiplexers(seen):
    boxes = {tuple(b["names"]): b for s in sessions(seen, user="dave") for b in s["work"]["multiplexers"]}
    assert boxes[("work",)]["attached"] == 1
    assert boxes[("bg",)]["attached"] == 0 and boxes[("bg",)]["socket"].endswith("/other")
    assert boxes[("sock",)]["attached"] == 0 and boxes[("sock",)]["socket"] == "/tmp/dave.sock"
    assert boxes[("away",)]["attached"] == 0 and boxes[("here",)]["attached"] == 1
    detached = {x["path"] for x in seen["leftovers"] if x["kind"] == "detached_multiplexer"}
    assert "/tmp/dave.sock" in detached


def test_su_and_sudo_stay_the_login_users(seen):
    (session,) = [s for s in sessions(seen, user="admin") if s["kind"] == "terminal"]
    assert session["work"]["foreground"][-1] == "bash" and any(p["command"] == "su" for p in session["processes"])


def test_jobs(seen):
    (session,) = [s for s in sessions(seen, user="carol") if len(s["work"]["jobs"]) == 2 and not s["work"]["editors"]]
    assert sorted(j["stopped"] for j in session["work"]["jobs"]) == [False, True]
    assert "jobs" in session["protected_because"]


def test_database_and_lock(seen):
    session, (db,) = at_work(seen, "database_clients", "sqlite3")
    assert "/home/alice/data.db" in db["files"]
    assert any(lock["path"] == "/home/alice/data.db" for lock in session["work"]["locks"])


def test_frozen_client(seen):
    (session,) = [s for s in seen["sessions"] if s["peer_unresponsive"]]
    assert session["user"] == "bob" and session["work"]["foreground"] == ["yes"]
    assert session["stale_because"] == ["unresponsive"]
    assert [t["name"] for t in session["troubles"]] == ["peer_unresponsive"]


def test_stopped_terminal(seen):
    found = [s for s in seen["sessions"] if any(t["name"] == "stopped_terminal" for t in s["troubles"])]
    assert [s["user"] for s in found] == ["alice"], [s["troubles"] for s in found]


def test_a_job_that_holds_the_session_open(seen):
    found = [(s, t) for s in seen["sessions"] for t in s["troubles"] if t["name"] == "closing"]
    assert len(found) == 1
    session, trouble = found[0]
    assert session["user"] == "carol" and session["state"] == "closing"
    assert "sleep (pid " in trouble["why"] and "pipe:" in trouble["why"]


def test_what_outlives_its_session(seen):
    closing = [s for s in sessions(seen, user="dave", state="closing") if not s["work"]["multiplexers"]]
    assert len(closing) == 2 and all(s["idle"] is None and "jobs" in s["protected_because"] for s in closing)
    kinds = sorted(x["kind"] for x in seen["leftovers"] if x["user"] == "dave" and x["command"] == "sleep")
    assert kinds == ["closing_session", "orphan_process"]


def test_console(seen):
    (session,) = sessions(seen, kind="console")
    assert session["user"] == "carol" and session["service"] == "login" and len(session["ttys"]) == 1
    assert session["remote_host"] is None and session["idle_signal"] == "tty_input"


def test_putty_keepalives_do_not_look_like_typing(seen):
    (session,) = [s for s in sessions(seen, user="bob", kind="terminal") if s["work"]["foreground"] == ["bash"]]
    assert session["remote_host"] == "127.0.0.1" and session["idle_signal"] == "tty_input" and session["idle"] >= 6


def test_mosh(host, seen):
    (session,) = sessions(seen, kind="mosh")
    assert session["user"] == "dave" and session["state"] == "active" and len(session["ttys"]) == 1
    assert session["idle"] >= 4 and session["idle_signal"] == "tty_input" and session["service"] == "mosh"
    assert any("mosh-server" in sentence and "closing" in sentence for sentence in seen["disagreements"])
    assert not any(x["pid"] == session["leader"]["pid"] for x in seen["leftovers"])


def test_user_without_passwd_entry(seen):
    (session,) = sessions(seen, user="ghost")
    assert session["kind"] == "terminal" and session["uid"] is not None


def test_own_session(seen):
    own = [s for s in seen["sessions"] if s["is_self"]]
    assert len(own) == 1 and own[0]["user"] == "root" and "self" in own[0]["protected_because"]
    assert {"ancestors", "peer"} <= set(seen["self_known_by"])


def test_limits(seen):
    limits = seen["limits"]
    assert limits["max_sessions"] == 10 and limits["max_startups"].startswith("200:")
    assert limits["users"]["dave"]["logins"] >= 5 and limits["sessions_max"] > 0
    assert limits["unauthenticated"] == 1  # what came through dave's forward and says nothing
