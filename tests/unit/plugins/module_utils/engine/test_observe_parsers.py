# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
import struct
import threading
import time

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import Clock, visible
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import dbus, locks, multiplexers, procfs
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.login_limits import (
    maxlogins_of,
    read_maxlogins,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.sockets import (
    Connection,
    parse_diag,
    peer_unresponsive,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.utmp import parse_utmp
from hypothesis import given
from hypothesis import strategies as st

# --- /proc/PID/stat ---------------------------------------------------------------------------------------------

REST = b" S 2 3 4 34816 5 4194304 1 0 0 0 7 8 0 0 20 0 1 0 424137 0 0 18446744073709551615\n"


@given(st.binary(max_size=15).filter(lambda raw: b"\0" not in raw))
def test_comm_may_hold_anything(comm):
    found = procfs.parse_stat(b"12 (" + comm + b")" + REST)
    assert found is not None
    assert found.comm.encode("utf-8", "surrogateescape") == comm
    assert found[2:] == ("S", 2, 3, 4, 34816, 5, 4194304, 15, 424137)
    assert visible(found.comm).isprintable()


@given(st.binary(max_size=300))
def test_stat_of_anything(data):
    procfs.parse_stat(data)


@given(st.integers(0, len(REST) + 6))
def test_stat_cut_short(length):
    found = procfs.parse_stat((b"12 (a b)" + REST)[:length])
    assert found is None or found.pid == 12


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, None),
        (34816, "pts/0"),
        (34816 + 255, "pts/255"),
        ((136 << 8) | (1 << 20) | 4, "pts/260"),
        (1025, "tty1"),
        (1088, "ttyS0"),
        (1281, "console"),
        (229 << 8, "hvc0"),
        (-1, None),
    ],
)
def test_terminals(number, name):
    assert procfs.terminal(number) == name


def test_a_tree_with_holes(tmp_path):
    (tmp_path / "7").mkdir()  # vanished after it was listed
    (tmp_path / "8" / "stat").mkdir(parents=True)
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "stat").write_bytes(b"9 (x)" + REST)
    (tmp_path / "self").mkdir()
    proc = procfs.Proc(str(tmp_path))
    assert list(proc.processes()) == [9]
    assert proc.cgroup(9) == (None, False, None) and proc.arguments(9) == ()
    assert proc.descriptors(9) == [] and proc.io(9) is None and proc.environment(9) == {} and proc.process(7) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0::/user.slice/user-1001.slice/session-70.scope\n", ("70", False, None)),
        ("1:name=systemd:/user.slice/user-1001.slice/session-c3.scope\n0::/\n", ("c3", False, None)),
        ("0::/user.slice/user-1001.slice/user@1001.service/tmux.scope\n", (None, True, None)),
        ("0::/system.slice/session-killer.service\n", (None, False, "session-killer.service")),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", (None, False, "getty@tty1.service")),
    ],
)
def test_cgroups(tmp_path, text, found):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cgroup").write_text(text)
    assert procfs.Proc(str(tmp_path)).cgroup(1) == found


@given(st.text())
def test_visible_is_one_printable_line(text):
    assert visible(text).isprintable()


# --- D-Bus ------------------------------------------------------------------------------------------------------


def reply(serial, signature, body, kind=2):
    fields = (
        struct.pack("<B3sI", 5, b"\x01u\0", serial)
        + b"\x08\x01g\0"
        + bytes((len(signature),))
        + signature.encode()
        + b"\0"
    )
    head = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 9, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


def text(value, before=b""):
    raw = value.encode()
    return before + bytes(-len(before) % 4) + struct.pack("<I", len(raw)) + raw + b"\0"


PROPERTIES = text("State") + b"\x01s\0" + b"\0" * 3 + text("active")


def test_a_call_reads_back():
    call = dbus.Call("org.example", "/a", "org.example.I", "Do", ("one", "three"))
    message = dbus.encode(call, 7)
    found, end = dbus.decode(message)
    assert end == len(message) and found.serial == 0 and found.body() == ("one", "three")


def test_properties():
    body = struct.pack("<I4x", len(PROPERTIES)) + PROPERTIES
    found, end = dbus.decode(reply(3, "a{sv}", body))
    assert end and found.serial == 3 and found.body() == ({"State": "active"},)
    assert found.properties({"State": b"s", "Leader": b"u"}) == {"State": "active"}


def test_a_property_of_another_type_is_not_taken_for_one():
    found, _end = dbus.decode(reply(3, "a{sv}", struct.pack("<I4x", len(PROPERTIES)) + PROPERTIES))
    assert found.properties({"State": b"u"}) == {}


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data):
    for raw in (data, b"l" + data):
        try:
            dbus.decode(raw)[0].body()
            dbus.decode(raw)[0].properties({"State": b"s"})
        except ValueError:
            pass


@given(st.data())
def test_no_mutation_breaks_it(data):
    rows = struct.pack("<I4x", 16 + 8) + text("c1") + b"\0" + struct.pack("<I", 5) + b"\0" * 8
    raw = bytearray(data.draw(st.sampled_from([
        reply(3, "a{sv}", struct.pack("<I4x", len(PROPERTIES)) + PROPERTIES),
        reply(3, "a(susso)", rows),
        reply(3, "v", b"\x01t\0" + b"\0" * 12),
        reply(3, "s", text("no"), 3),
    ])))  # fmt: skip
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=6)):
        raw[at] = data.draw(st.integers(0, 255))
    for read in (lambda found: found.body(), lambda found: found.properties({"State": b"s"})):
        try:
            read(dbus.decode(bytes(raw))[0])
        except ValueError:
            pass


@pytest.mark.parametrize("manners", ["silent", "hangs up", "refuses", "babbles"])
def test_a_bus_that_misbehaves_costs_no_more_than_its_time(tmp_path, manners):
    path = str(tmp_path / "bus")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve():
            peer = server.accept()[0]
            peer.recv(512)
            if manners == "hangs up":
                peer.close()
                return
            if manners == "refuses":
                peer.send(b"REJECTED EXTERNAL\r\n")
            elif manners == "babbles":
                peer.send(b"OK 1\r\n")
                peer.send(b"l" + b"\xff" * 100)
            done.wait(5)

        done = threading.Event()
        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        with pytest.raises((OSError, ValueError)):
            bus = dbus.Bus(path, time.monotonic() + 0.3)
            bus.collect([bus.ask(dbus.Call("org.example", "/a", "org.example.I", "Do"))])
        done.set()
    assert time.monotonic() - began < 3


# --- utmp, sockets, locks, multiplexers --------------------------------------------------------------------------


def record(kind=7, line=b"pts/1", user=b"alice", host=b"192.0.2.1"):
    return struct.pack("<hxxi32s4s32s256shhiii16s20x", kind, 99, line, b"ts/1", user, host, 0, 0, 0, 1700000000, 0, b"")


def test_utmp():
    (found,) = parse_utmp(record(kind=8) + record() + record(user=b"") + record()[:100])
    assert found == (99, "pts/1", "alice", "192.0.2.1", 1700000000)


@given(st.binary(max_size=900))
def test_utmp_of_anything(data):
    parse_utmp(data)
    parse_utmp(record() + data)


def diag(inode=77, unsent=5, acked=1000, family=2, address=b"\xc0\x00\x02\x01"):
    message = struct.pack("!BBBBHH", family, 1, 0, 0, 22, 50022) + bytes(16) + address.ljust(16, b"\0") + bytes(12)
    message = message[:52] + struct.pack("=IIIII", 0, 0, unsent, 0, inode)
    info = bytearray(200)
    struct.pack_into("=III", info, 44, 4000, 0, 6000)
    struct.pack_into("=QQ", info, 120, acked, 2000)
    message += struct.pack("=HH", 4 + len(info), 2) + bytes(info)
    return struct.pack("=IHHII", 16 + len(message), 20, 2, 0, 0) + message


def test_connections():
    found = {}
    assert parse_diag(diag() + diag(78, family=10, address=b"\0" * 10 + b"\xff\xff\xc0\0\2\7"), found) is False
    assert found[77] == Connection(22, "192.0.2.1", 50022, 5, 4000, 6000, 1000, 2000) and found[77].quiet() == 4
    assert found[78].host == "192.0.2.7"
    assert parse_diag(struct.pack("=IHHII", 16, 3, 0, 0, 0), found) is True
    with pytest.raises(OSError, match="sock_diag"):
        parse_diag(struct.pack("=IHHII", 16, 2, 0, 0, 0), found)


@given(st.binary(max_size=400), st.integers(0, 300))
def test_connections_of_anything(data, at):
    for raw in (data, diag()[:at] + data):
        try:
            parse_diag(raw, {})
        except (OSError, ValueError):
            pass


def wire(unsent, acked):
    return Connection(22, "192.0.2.1", 1, unsent, 0, 0, acked, 0)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (None, None, None),
        (None, wire(0, 5), False),
        (None, wire(9, 5), None),  # one look cannot condemn
        (wire(9, 5), wire(9, 5), True),
        (wire(9, 5), wire(90, 5), True),
        (wire(9, 5), wire(9, 6), False),
        (wire(0, 5), wire(9, 5), False),
        (wire(9, None), wire(9, None), None),
    ],
)
def test_peer_unresponsive(before, after, verdict):
    assert peer_unresponsive(before, after) is verdict


def test_locks():
    found = locks.parse_locks(
        b"1: POSIX  ADVISORY  WRITE 1234 fe:01:5678 0 EOF\n1: -> POSIX  ADVISORY  WRITE 99 fe:01:5678 0 EOF\n"
        b"2: FLOCK  ADVISORY  READ  77 00:19:12 0 EOF\n3: OFDLCK ADVISORY  WRITE -1 08:01:9 0 EOF\nrubbish\n"
    )
    assert found == [(1234, "POSIX", "WRITE", 5678), (77, "FLOCK", "READ", 12)]


@given(st.binary(max_size=300))
def test_locks_of_anything(data):
    locks.parse_locks(data)


def test_tmux_answers():
    clock = Clock(1000.0, 500.0)
    assert multiplexers.parse_tmux("7 1 100 990 a\n7 0 90 200 b c\n", 7, clock) == (("a", "b c"), 1, 90, 10)
    assert multiplexers.parse_tmux("8 1 100 990 a\n", 7, clock) is None  # another server has taken the path
    assert multiplexers.parse_tmux("", 7, clock) is None


@given(st.text())
def test_tmux_answers_of_anything(answer):
    multiplexers.parse_tmux(answer, 7, Clock(1.0, 1.0))
    multiplexers.parse_unix(answer.encode("utf-8", "replace"))


def test_screen_is_read_by_its_socket_alone(tmp_path):
    (tmp_path / "S-x").mkdir()
    path = tmp_path / "S-x" / "7.pts-0.host"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        process = procfs.parse_stat(b"7 (screen)" + REST)
        mine = multiplexers.Server("screen", process, os.getuid(), os.getgid())
        for mode, attached in ((0o700, 1), (0o600, 0)):
            path.chmod(mode)
            assert multiplexers._screen(mine, str(tmp_path)).attached == attached
        path.unlink()
        path.symlink_to("/etc/passwd")
        assert multiplexers._screen(mine, str(tmp_path)).attached is None


def test_maxlogins(tmp_path):
    folder = tmp_path / "etc/security/limits.d"
    folder.mkdir(parents=True)
    (folder.parent / "limits.conf").write_text(
        "* hard maxlogins 10\nalice - maxlogins 3 # hers\n# bob hard maxlogins 1\n"
    )
    (folder / "a.conf").write_text("@ops hard maxlogins 7\n* hard maxlogins 9\n* hard nofile 5\nx hard maxlogins -\n")
    entries = read_maxlogins(str(tmp_path))
    assert [
        maxlogins_of(*who, entries) for who in (("alice", ["ops"]), ("bob", ["ops"]), ("bob", []), ("root", []))
    ] == [3, 7, 9, None]
    assert maxlogins_of("x", [], entries) is None
