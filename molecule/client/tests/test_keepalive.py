# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keepalives as servers and firewalls see them: plink and ssh behind a NAT with a short memory, and their files."""

from __future__ import annotations

import re
import shlex
import time

import pytest
from realhosts import Person, over_ssh, playbook, until

# Inside the host: clients in one namespace, the NAT in the next, sshd where the host is.
FORGETS = 9
INTERVAL = 3
SERVER = "10.77.1.1"
NAT = f"""
set -e
ip netns add inside; ip netns add nat
for n in inside nat; do ip -n $n link set lo up; done
ip link add up0 type veth peer name up1 netns nat
ip -n nat link add down0 type veth peer name down1 netns inside
ip address add {SERVER}/24 dev up0; ip link set up0 up
ip -n nat address add 10.77.1.2/24 dev up1; ip -n nat link set up1 up
ip -n nat address add 10.77.2.1/24 dev down0; ip -n nat link set down0 up
ip -n inside address add 10.77.2.2/24 dev down1; ip -n inside link set down1 up
ip -n inside route add default via 10.77.2.1
ip netns exec nat sysctl -qw net.ipv4.ip_forward=1
# What is silent for long is forgotten, and what nobody remembers goes nowhere: no reset, no message.
ip netns exec nat nft -f - <<'RULES'
table ip nat {{
  ct timeout short {{
    protocol tcp
    l3proto ip
    policy = {{ established: {FORGETS} }}
  }}
  chain arriving {{
    type filter hook prerouting priority -150
    ip protocol tcp ct timeout set "short"
  }}
  chain leaving {{
    type nat hook postrouting priority 100
    oifname "up1" masquerade
  }}
  chain through {{
    type filter hook forward priority 0; policy drop;
    tcp flags & (syn|ack) == syn accept
    ct state established accept
  }}
}}
RULES
ip netns exec nat sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
# A client that sends into the void learns it in seconds, not in a quarter of an hour.
ip netns exec inside sysctl -qw net.ipv4.tcp_retries2=3
"""
# sshd's debug log with the time of each line, which it does not write itself.
STAMP = "import sys, time\nfor line in sys.stdin: print(time.time(), line, end='', flush=True)"
SSHD = f"""
exec /usr/sbin/sshd -D -e -p 2200 -o ListenAddress={SERVER} -o LogLevel=DEBUG3 -o PidFile=none \
  -o ClientAliveInterval=0 2>&1 | python3 -uc {shlex.quote(STAMP)} > /run/sshd-debug.log
"""
KEYS = """
set -e
cd /home/alice
puttygen -t ed25519 --new-passphrase /dev/null -o key.ppk
puttygen -L key.ppk >> .ssh/authorized_keys
ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519
cat .ssh/id_ed25519.pub >> .ssh/authorized_keys
chown alice: key.ppk .ssh/*
"""
SESSION = {"HostName": SERVER, "PortNumber": 2200, "Protocol": "ssh", "UserName": "alice",
           "PublicKeyFile": "/home/alice/key.ppk"}  # fmt: skip


@pytest.fixture(scope="module")
def server(machine):
    machine.exec(NAT + KEYS)
    machine.exec(f"setsid sh -c {shlex.quote(SSHD)} </dev/null >/dev/null 2>&1 &")
    assert until(lambda: machine.exec(f"ss -Hltn src {SERVER}").stdout, 10)
    return machine


def behind_the_nat(machine, command):
    """Alice at a terminal inside the NAT."""
    enter = [*shlex.split(machine.variables["testhost_enter"]), "podman", "exec", "-it"]
    enter += [machine.variables["testhost_container"], "ip", "netns", "exec", "inside"]
    return Person(machine, "alice", client=[*enter, "su", "alice", "-c", f"cd; TERM=xterm exec {command}"])


def session(machine, name="Default Settings", **kw):
    return machine.module("putty_session", user="alice", name=name, **kw)


def test_keepalives_hold_a_connection_that_a_nat_forgets_without_them(server):
    made = session(server, "with", keepalive=INTERVAL, settings=SESSION)
    assert made["changed"], made
    assert session(server, "without", settings=SESSION)["changed"]
    server.role("client_keepalive", client_keepalive_server_alive_interval=INTERVAL)
    ssh = f"ssh -p 2200 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null alice@{SERVER}"
    clients = {
        "plink, with": "plink -no-antispoof -load with",
        "plink, without": "plink -no-antispoof -load without",
        "ssh, with": ssh,
        "ssh, without": f"{ssh} -o ServerAliveInterval=0",
    }
    try:
        for name, command in list(clients.items()):
            clients[name] = person = behind_the_nat(server, command)
            if name == "plink, with":
                person.reads(r"Store key in cache\?")
                person.type("y")
            person.at_prompt()
        silence = time.time()
        time.sleep(2.5 * FORGETS)
        heard = time.time()
        for person in clients.values():
            person.type("echo heard-$((6 * 7))")
        for name in ("plink, with", "ssh, with"):
            clients[name].reads("heard-42")
        for name in ("plink, without", "ssh, without"):
            assert clients[name].leaves_within(30), clients[name].screen()
            assert "heard-42" not in clients[name].screen()
        # sshd saw plink's SSH_MSG_IGNORE (2) at the interval that was set, and ssh's question.
        log = server.exec("cat /run/sshd-debug.log").stdout
        pings = [
            float(t) for t in re.findall(r"^(\S+) .*receive packet: type 2$", log, re.M) if silence < float(t) < heard
        ]
        gaps = [later - sooner for sooner, later in zip(pings, pings[1:])]
        assert len(pings) >= 2.5 * FORGETS / INTERVAL - 2
        assert all(INTERVAL - 1 < gap < INTERVAL + 2 for gap in gaps), gaps
        assert "keepalive@openssh.com" in log
    finally:
        for person in clients.values():
            if isinstance(person, Person):
                person.leaves()


# --- saved sessions -----------------------------------------------------------------------------------------------


def looked_up(machine, name, prefix=""):
    """The host that a real plink of alice's goes for when it loads the session."""
    load = f"{prefix} plink -v -batch -load {shlex.quote(name)} </dev/null 2>&1"
    said = over_ssh(machine, "alice", load).stdout
    found = re.search(r'Looking up host "(\S+)"', said)
    return found and found.group(1)


@pytest.fixture
def home(machine):
    """Alice's home without anything of PuTTY's."""
    machine.exec("rm -rf /home/alice/.putty /home/alice/.config /home/alice/elsewhere")
    yield "/home/alice"
    machine.exec("rm -rf /home/alice/.putty /home/alice/.config /home/alice/elsewhere")


def test_a_session_is_made_shown_and_left_alone_the_second_time(machine, home):
    file = f"{home}/.putty/sessions/Default%20Settings"
    wanted = {"keepalive": "1m30s", "tcp_keepalives": True}
    shown = session(machine, check=True, diff=True, **wanted)
    assert shown["changed"] and shown["diff"]["after"] == "PingInterval=1\nPingIntervalSecs=30\nTCPKeepalives=1\n"
    assert machine.exec(f"ls {home}/.putty", check=False).returncode != 0
    assert session(machine, **wanted)["file"] == file
    assert not session(machine, **wanted)["changed"]
    seen = machine.exec(f"cat {file}; stat -c '%U %G %a' {file} {home}/.putty/sessions {home}/.putty").stdout
    assert seen == shown["diff"]["after"] + "alice alice 600\n" + "alice alice 700\n" * 2
    # Asked to, it goes again with the file that it made.
    assert session(machine, state="absent", **wanted)["changed"]
    assert machine.exec(f"ls {file}", check=False).returncode != 0
    assert not session(machine, state="absent", **wanted)["changed"]


def test_other_keys_and_their_order_stay(machine, home):
    kept = "Zebra=1\nPingInterval=0\nWinTitle=\\xc3=\nPingIntervalSecs=0\nAnt=2\nPingInterval=7\nno equals sign"
    machine.write(f"{home}/.putty/sessions/old", kept, mode="0640")
    machine.exec(f"chown -R alice: {home}/.putty")
    assert session(machine, "old", keepalive=45, settings={"Ant": None, "HostName": "new.invalid"})["changed"]
    seen = machine.exec(f"cat {home}/.putty/sessions/old; stat -c %a {home}/.putty/sessions/old").stdout
    # PuTTY takes the first of two lines.
    expected = kept.replace("Secs=0", "Secs=45").replace("Ant=2\n", "") + "\nHostName=new.invalid\n640\n"
    assert seen == expected
    assert looked_up(machine, "old") == "new.invalid"


STRANGE = ["Jump (Wien) ~ 50%/day", "Ünïcode\\*?", "..x", "a&b;c|d`e$f'g\"h", "[x]", "+-@_.", "%41"]


def test_plink_finds_sessions_of_strange_names(machine, home):
    made = [
        {"sessionops.policy.putty_session": {"user": "alice", "name": name, "settings": {"HostName": f"{n}.invalid"}}}
        for n, name in enumerate(STRANGE)
    ]
    playbook([machine], [{"hosts": "all", "gather_facts": False, "tasks": made}])
    looks = [f"plink -v -batch -load {shlex.quote(name)} </dev/null 2>&1" for name in STRANGE]
    said = over_ssh(machine, "alice", "\n".join(looks)).stdout
    assert re.findall(r'Looking up host "(\S+)"', said) == [f"{n}.invalid" for n in range(len(STRANGE))]


def test_the_file_is_where_plink_looks(machine, home):
    def set_and_look(host, prefix="", **kw):
        session(machine, "here", settings={"HostName": host}, **kw)
        return looked_up(machine, "here", prefix)

    assert set_and_look("old.invalid") == "old.invalid"
    machine.exec(f"install -d -o alice -g alice -m 700 {home}/.config {home}/.config/putty")
    assert looked_up(machine, "here") is None
    assert set_and_look("xdg.invalid") == "xdg.invalid"
    elsewhere = f"{home}/elsewhere/putty"
    machine.exec(f"install -d -o alice -g alice {home}/elsewhere {elsewhere}")
    environment = f"XDG_CONFIG_HOME={home}/elsewhere"
    assert set_and_look("mine.invalid", environment, directory=elsewhere) == "mine.invalid"


SECRET = "/root/secret"


def test_root_never_goes_through_a_link_of_the_users(machine, home):
    """Whatever alice puts in the way, root's files stay as they are and are not shown."""
    trap = f"{home}/.putty/sessions/trap"
    machine.write(SECRET, "HostName=secret\n", mode="0600")
    machine.exec("install -d -m 700 /root/folder/sessions")
    before = machine.tree("/root/folder", SECRET, "/etc/shadow", "/etc/passwd")
    folder = f"mkdir -p {home}/.putty/sessions; chown -R alice: {home}/.putty"
    places = (
        f"ln -s /root/folder {home}/.putty",
        f"mkdir {home}/.putty; ln -s /root/folder/sessions {home}/.putty/sessions",
        f"ln -s /etc {home}/.putty",
        f"{folder}; ln -s {SECRET} {trap}",
        f"{folder}; ln -s /etc/shadow {trap}",
        f"{folder}; ln -s /etc/passwd {trap}",
        f"{folder}; ln -s /nowhere/at/all {trap}",
        f"{folder}; mkfifo {trap}",
        f"{folder}; mkdir {trap}",
    )
    tasks = []
    for place in places:
        lay = f"rm -rf {home}/.putty; {place}; chown -h alice: {home}/.putty {trap} 2>/dev/null || true"
        wish = {"user": "alice", "name": "trap", "keepalive": 30}
        refused = "answer is not failed or 'alice' not in answer.msg"
        tasks += [
            {"ansible.builtin.shell": lay},
            {"sessionops.policy.putty_session": wish, "register": "answer", "failed_when": refused},
        ]
    said = playbook([machine], [{"hosts": "all", "gather_facts": False, "tasks": tasks}], "--diff").stdout
    assert "HostName=secret" not in said
    assert machine.tree("/root/folder", SECRET, "/etc/shadow", "/etc/passwd") == before


def test_links_that_lead_to_the_users_own_files_are_theirs_to_make(machine, home):
    machine.exec(
        f"install -d -o alice -g alice {home}/elsewhere {home}/.putty {home}/.putty/sessions;"
        f"install -o alice -g alice -m 644 /dev/null {home}/elsewhere/kept;"
        f"ln -s {home}/elsewhere/kept {home}/.putty/sessions/linked"
    )
    assert session(machine, "linked", settings={"HostName": "linked.invalid"})["changed"]
    assert machine.exec(f"test -L {home}/.putty/sessions/linked; cat {home}/elsewhere/kept").stdout
    assert looked_up(machine, "linked") == "linked.invalid"


def test_only_root_works_as_somebody_else(machine, home):
    as_bob = {"ansible_user": "bob"}
    answer = machine.start("putty_session", user="alice", keepalive=5, variables=as_bob)()
    assert "only root can work as alice" in answer["msg"]
    assert machine.start("putty_session", keepalive=5, variables=as_bob)()["file"].startswith("/home/bob/")


# --- the role -----------------------------------------------------------------------------------------------------


def alive(machine, host="any.invalid", user="erin"):
    """ssh's own words about a host: interval, count and TCPKeepAlive."""
    said = over_ssh(machine, user, f"ssh -T -G {host}").stdout
    return [re.search(rf"^{key} (\S+)$", said, re.M).group(1) for key in
            ("serveraliveinterval", "serveralivecountmax", "tcpkeepalive")]  # fmt: skip


ROLE = {
    "client_keepalive_server_alive_interval": "1m",
    "client_keepalive_server_alive_count_max": 4,
    "client_keepalive_hosts": [
        {"pattern": "*.lab.invalid !quiet.lab.invalid", "server_alive_interval": "15s", "tcp_keep_alive": False},
        {"pattern": "*.invalid", "server_alive_count_max": 2},
    ],
    "client_keepalive_putty_users": ["bob"],
    "client_keepalive_putty_sessions": ["Default Settings", ".Jump host*"],
}


@pytest.fixture(scope="module")
def bare(machine):
    """A host where the role has not been, as the NAT's test leaves it."""
    machine.role("client_keepalive", client_keepalive_state="absent")
    return machine


def test_all_and_single_hosts_and_both_kinds_of_putty(bare, tmp_path):
    registry = tmp_path / "keepalive.reg"
    variables = {**ROLE, "client_keepalive_registry_file": str(registry)}
    before = bare.tree()
    assert "changed=0 " not in bare.role("client_keepalive", "--check", **variables).stdout
    assert bare.tree() == before and not registry.exists()
    bare.role("client_keepalive", **variables)
    assert alive(bare, "somewhere.example") == ["60", "4", "yes"]
    assert alive(bare, "a.lab.invalid") == ["15", "2", "no"]
    assert alive(bare, "quiet.lab.invalid") == ["60", "2", "yes"]
    for file in (".Jump%20host%2A", "Default%20Settings"):
        said = bare.exec(f"cat /home/bob/.putty/sessions/{file}").stdout
        assert said == "PingInterval=1\nPingIntervalSecs=0\n"
    assert bare.exec("stat -c %U /home/bob/.putty/sessions/.Jump%20host%2A").stdout == "bob\n"
    assert registry.read_bytes().decode("ascii").split("\r\n") == [
        "REGEDIT4",
        "",
        r"[HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions\Default%20Settings]",
        '"PingInterval"=dword:00000001',
        '"PingIntervalSecs"=dword:00000000',
        "",
        r"[HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions\%2EJump%20host%2A]",
        '"PingInterval"=dword:00000001',
        '"PingIntervalSecs"=dword:00000000',
        "",
        "",
    ]
    assert "changed=0 " in bare.role("client_keepalive", **variables).stdout
    bare.role("client_keepalive", client_keepalive_state="absent", **variables)
    assert bare.tree() == before and not registry.exists()
    assert bare.exec("find /home/bob/.putty -type f").stdout == ""


def test_an_earlier_line_of_somebody_else_is_named_and_nothing_touched(bare):
    foreign = "/etc/ssh/ssh_config.d/00-a.conf"
    bare.write(foreign, "Host *\n  ServerAliveInterval 7\n")
    try:
        before = bare.tree()
        done = bare.role("client_keepalive", check=False, client_keepalive_server_alive_interval=60)
        assert done.returncode and f"{foreign}:2" in done.stdout and "Nothing on this host was touched" in done.stdout
        assert bare.tree() == before
        wanted = {"layers": ["client"], "server_alive_interval": 60, "server_alive_count_max": 3}
        interval, count = bare.module("policy_info", wanted=wanted)["findings"]
        assert (interval["compliant"], interval["in_force"], interval["overridden_by"]) == (False, 7, f"{foreign}:2 7")
        assert (count["compliant"], count["in_force"], count["source"]) == (True, 3, None)
    finally:
        bare.exec(f"rm {foreign}")


def test_a_main_file_without_include_gets_a_block_that_ends_where_it_ends(bare):
    main = "/etc/ssh/ssh_config"
    bare.exec(f"cp -p {main} /root/kept; printf 'Port 2222\\nHost old.invalid\\n  User me\\n' > {main}")
    try:
        before = bare.tree()
        bare.role("client_keepalive", **{**ROLE, "client_keepalive_putty_users": []})
        assert alive(bare, "a.lab.invalid") == ["15", "2", "no"]
        assert alive(bare, "b.example") == ["60", "4", "yes"]
        # What stood at the top of the file still holds for every host.
        assert "port 2222\n" in over_ssh(bare, "erin", "ssh -T -G b.example").stdout
        bare.role("client_keepalive", client_keepalive_state="absent")
        assert bare.tree() == before
    finally:
        bare.exec(f"cp -p /root/kept {main}")


def test_bad_input_is_refused_with_a_sentence(bare):
    before = bare.tree()
    done = bare.role("client_keepalive", check=False, client_keepalive_putty_users=["bob"])
    assert done.returncode and "PuTTY needs client_keepalive_server_alive_interval" in done.stdout
    hosts = [{"pattern": 'a"b', "tcp_keep_alive": True}]
    done = bare.role("client_keepalive", check=False, client_keepalive_hosts=hosts)
    assert done.returncode and "with blanks between, unquoted" in done.stdout
    assert bare.tree() == before
