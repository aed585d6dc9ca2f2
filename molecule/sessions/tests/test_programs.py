# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real programs at whose work people are, and the troubles with closing and frozen sessions.

The programs are installed from Debian once for each host, so this runs on two of the releases. Debian has no mongosh.
"""

from __future__ import annotations

import json

import pytest
from realhosts import until

pytestmark = pytest.mark.parametrize("host", ["deb12", "deb13"], indirect=True, scope="module")

PACKAGES = "emacs-nox postgresql-client mariadb-client-core python3-pip tnftp nodejs vsftpd"
# Other families' package managers, of which Debian has the real ones; on one release, because they are big.
FOREIGN = {"bookworm": ["dnf", "zypper"]}
# Somebody who takes every connection and never says a word, but for 20 kB a second on port 8000.
SERVERS = """
import http.server, socket, time

class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "8000000")
        self.end_headers()
        while True:
            self.wfile.write(bytes(2000))
            time.sleep(0.1)

silent = [socket.create_server(("127.0.0.1", port)) for port in (3306, 5432, 6379, 8001)]
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Slow).serve_forever()
"""
# What a remote editor's launcher does: it leaves a server behind that has a session, sockets and no parent of its own.
LAUNCHER = """
const server = require("child_process").spawn(process.execPath, [__dirname + "/server-main.js"],
    {detached: true, stdio: "ignore"});
server.unref();
process.exit(0);
"""
SERVER = """
const net = require("net");
net.createServer(() => {}).listen(process.env.HOME + "/.editor-server/socket");
net.createServer(() => {}).listen(0, "127.0.0.1");
"""
SETUP = f"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io {PACKAGES} $FOREIGN >/dev/null
printf 'listen=YES\\nlisten_ipv6=NO\\nlocal_enable=YES\\nseccomp_sandbox=NO\\n' > /etc/vsftpd.conf
systemctl restart vsftpd
echo 'MaxStartups 200' > /etc/ssh/sshd_config.d/50-people.conf
systemctl reload ssh
echo 'bob:secret' | chpasswd
head -c 8000000 /dev/urandom > /home/bob/big
chmod 644 /home/bob/big
systemd-run --quiet --unit servers python3 /root/servers.py
mkdir -p /root/slow/DEBIAN
printf 'Package: slow\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\nDescription: slow\\n' > /root/slow/DEBIAN/control
printf '#!/bin/sh\\nsleep 3000\\n' > /root/slow/DEBIAN/postinst
chmod 755 /root/slow/DEBIAN/postinst
dpkg-deb --build /root/slow /tmp/slow.deb >/dev/null
"""
TYPED = {
    "psql": "psql --host 127.0.0.1 --username x shop",
    "mariadb": "mariadb --host 127.0.0.1 --connect-timeout 3000 --password=hunter2",
    "redis": "redis-cli",
    "pip": "pip download --timeout 3000 --index-url http://127.0.0.1:8001/simple nothing",
    "curl": "curl --silent --output curl.bin http://127.0.0.1:8000/big",
    "wget": "wget --quiet --output-document=wget.bin http://127.0.0.1:8000/big",
    "lftp": "lftp -u bob,secret -e 'set net:limit-rate 20000; get big -o lftp.bin' 127.0.0.1",
    "ftp": "ftp -T get,20000 -o ftp.bin ftp://bob:secret@127.0.0.1/big",
}


@pytest.fixture(scope="module")
def seen(host, people):
    """Everybody is at work, and is looked at twice."""
    host.write("/root/servers.py", SERVERS)
    host.write("/home/erin/.editor-server/launch.js", LAUNCHER)
    host.write("/home/erin/.editor-server/server-main.js", SERVER)
    host.exec("chown -R erin: /home/erin/.editor-server")
    foreign = FOREIGN.get(host.release, [])
    host.exec(f"FOREIGN='{' '.join(foreign)}'\n{SETUP}")
    for name in [*TYPED, "leaver"]:
        people.login(name, "carol")
    people.login("emacs", "alice")
    people.login("apt", "admin")
    for name in foreign:
        people.login(name, "admin", f"sudo {name} shell", options=["-t"])
    people.login("frozen", "bob", "yes", options=["-T"])
    people.login("reads", "bob", "while sleep 0.1; do echo still here; done", options=["-T"])
    host.ssh("node .editor-server/launch.js", user="erin")
    for name in [*TYPED, "leaver", "emacs", "apt"]:
        people.await_screen(name, "$", seconds=60)
    for name, line in TYPED.items():
        people.type(name, line, "Enter")
    people.type("emacs", "emacs -nw -q plan.txt", "Enter")
    people.type("apt", "sudo apt-get install -y /tmp/slow.deb", "Enter")
    people.await_screen("emacs", "plan.txt", seconds=60)
    people.type("emacs", "-l", "not saved yet")
    people.type("emacs", "M-x")
    people.type("emacs", "do-auto-save", "Enter")
    for name in foreign:
        people.await_screen(name, ">", seconds=60)
    people.freeze("frozen")
    assert until(lambda: host.ssh("ls -A", user="alice").count("plan.txt") == 2, 60), host.ssh("ls -A", user="alice")
    assert until(lambda: "sleep 3000" in host.ssh("ps -eo args"), 60), people.screen("apt")
    result = host.module("session_info", gather_subset=["sessions", "leftovers"], sample=4, unresponsive=True)
    assert not result.get("failed"), result
    (people.folder / "seen.json").write_text(json.dumps(result, indent=1))
    return result


def at_work(seen, kind, program):
    """The one session with this program at work, and what is said of it."""
    found = [(s, w) for s in seen["sessions"] for w in s["work"][kind] if w["program"] == program]
    assert len(found) == 1, (kind, program, found)
    return found[0]


@pytest.mark.parametrize("program", ["psql", "mariadb", "redis-cli"])
def test_database_clients(seen, program):
    session, client = at_work(seen, "database_clients", program)
    assert client["known_by"] == "executable" and client["tty"] in session["ttys"]
    assert session["user"] == "carol" and session["work"]["foreground"] == [program]
    assert session["protected_because"] == ["databases"]


def test_no_password_of_a_command_line_is_told(seen):
    assert "hunter2" not in json.dumps(seen)


@pytest.mark.parametrize("program", ["curl", "wget", "lftp", "tnftp"])
def test_transfers_with_their_file_and_rate(seen, program):
    session, transfer = at_work(seen, "transfers", program)
    assert transfer["known_by"] == "executable"
    assert transfer["files"] == [f"/home/carol/{program.replace('tn', '')}.bin"]
    assert 1000 < transfer["rate"] < 200_000, transfer
    assert session["protected_because"] == ["transfers"]


def test_emacs_with_its_lock_and_autosave(seen):
    session, emacs = at_work(seen, "editors", "emacs")
    assert emacs["known_by"] == "executable" and emacs["files"] == ["/home/alice/plan.txt"]
    assert emacs["swap"] == ["/home/alice/.#plan.txt", "/home/alice/#plan.txt#"]
    assert session["work"]["foreground"] == ["emacs"] and session["protected_because"] == ["editors"]


def test_apt_half_way(seen):
    session, apt = at_work(seen, "package_managers", "apt-get")
    assert apt["known_by"] == "executable" and session["user"] == "admin"
    assert "package_managers" in session["protected_because"]
    programs = {w["program"] for w in session["work"]["package_managers"]}
    assert {"apt-get", "dpkg"} <= programs
    assert "/var/lib/dpkg/lock-frontend" in {lock["path"] for lock in session["work"]["locks"]}


def test_pip(seen):
    session, pip = at_work(seen, "package_managers", "pip")
    assert pip["known_by"] == "script" and pip["executable"].startswith("/usr/bin/python3")
    assert session["protected_because"] == ["package_managers"]


@pytest.mark.parametrize(("program", "known_by"), [("dnf", "script"), ("zypper", "executable")])
def test_package_managers_of_other_families(host, seen, program, known_by):
    if program not in FOREIGN.get(host.release, []):
        pytest.skip("installed on one release only")
    session, manager = at_work(seen, "package_managers", program)
    assert manager["known_by"] == known_by and session["user"] == "admin"
    assert "package_managers" in session["protected_because"]


def test_a_server_that_detached_itself(seen):
    found = [s for s in seen["sessions"] if s["user"] == "erin"]
    assert len(found) == 1 and found[0]["state"] == "closing"
    assert found[0]["idle"] is None and found[0]["idle_signal"] == "none" and found[0]["kind"] == "exec"
    (server,) = found[0]["work"]["jobs"]
    assert server["executable"] == "/usr/bin/node" and server["tty"] is None
    assert found[0]["protected_because"] == ["jobs"] and not found[0]["stale"]
    assert [x["user"] for x in seen["leftovers"] if x["pid"] == server["pid"]] == ["erin"]


def test_a_frozen_client_without_a_terminal(seen):
    (session,) = [s for s in seen["sessions"] if s["peer_unresponsive"]]
    assert session["user"] == "bob" and session["ttys"] == [] and session["work"]["foreground"] == ["yes"]
    assert session["stale_because"] == ["unresponsive"]
    assert [trouble["name"] for trouble in session["troubles"]] == ["peer_unresponsive"]
    (reading,) = [s for s in seen["sessions"] if s["user"] == "bob" and s is not session]
    assert reading["peer_unresponsive"] is False and reading["troubles"] == []


def test_a_job_cannot_hold_the_terminal_of_a_shell_that_left(host, people, seen):
    """The kernel hangs the terminal up when its shell leaves, so the session ends; the job is told as what is left."""
    before = {s["id"] for s in seen["sessions"]}
    people.type("leaver", "sleep 4888 & disown; exit", "Enter")

    def left():
        now = host.module("session_info", gather_subset=["sessions", "leftovers"])
        jobs = [x for x in now["leftovers"] if x["command"] == "sleep" and x["user"] == "carol"]
        return jobs and (now, jobs)

    now, jobs = until(left, 20)
    assert len(jobs) == 1 and jobs[0]["why"] == "its shell has ended"
    gone = before - {s["id"] for s in now["sessions"] if s["leader"]["start_time"] is not None}
    assert len([s for s in seen["sessions"] if s["id"] in gone and s["user"] == "carol"]) == 1
