# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keepalives as servers and firewalls see them: plink and ssh behind a NAT with a short memory, and their files."""

from __future__ import annotations

import json
import os
import re
import shlex
import time

import pytest
from realhosts import Person, booted, over_ssh, until

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
    assert until(lambda: not machine.exec(f"ss -Hltn src {SERVER}", check=False).stdout == "", 10)
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
        "plink, with": behind_the_nat(server, "plink -no-antispoof -load with"),
        "plink, without": behind_the_nat(server, "plink -no-antispoof -load without"),
        "ssh, with": behind_the_nat(server, ssh),
        "ssh, without": behind_the_nat(server, f"{ssh} -o ServerAliveInterval=0"),
    }
    try:
        for name, person in clients.items():
            if name.startswith("plink"):
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
        pings = [float(t) for t in re.findall(r"^(\S+) .*receive packet: type 2$", log, re.M) if silence < float(t) < heard]
        gaps = [later - sooner for sooner, later in zip(pings, pings[1:])]
        assert len(pings) >= 2.5 * FORGETS / INTERVAL - 2
        assert all(INTERVAL - 1 < gap < INTERVAL + 2 for gap in gaps), gaps
        assert "keepalive@openssh.com" in log
    finally:
        for person in clients.values():
            person.leaves()
