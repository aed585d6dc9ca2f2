# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are stale locks, and how they are moved away while their owner does what he likes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pathlib
import socket
import subprocess
import time

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act import locks as act
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import Clock
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import lock_files
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.procfs import Proc
from hypothesis import given
from hypothesis import strategies as st

HOST = "buildhost"
NOW, BOOT, HZ = 1_800_000_000.0, 50_000.0, 100  # booted 50,000 s ago
BOOTED = NOW - BOOT


def stat_line(pid, start, state="S"):
    return f"{pid} (x) {state} 1 {pid} {pid} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0"


@pytest.fixture
def proc(tmp_path):
    """A /proc in which pid 77 runs, from 1000 s after boot on."""
    root = tmp_path / "proc"
    (root / "77").mkdir(parents=True)
    (root / "77/stat").write_text(stat_line(77, 1000 * HZ))
    (root / "sys/kernel").mkdir(parents=True)
    (root / "sys/kernel/hostname").write_text(f"{HOST}\n")
    return Proc(str(root))


def looked_at(proc, path, name=None, named=False, written=NOW):
    os.utime(path, (written, written))
    handle = os.open(path, os.O_RDONLY)
    try:
        real = os.fstat(handle)
        # ctime can't be set: as if it was that of the writing.
        facts = Facts(real, st_ctime=written, st_mtime=written)
        return lock_files.Examiner(proc, Clock(NOW, BOOT, HZ)).examine(handle, name or str(path), facts, named)
    finally:
        os.close(handle)


class Facts:
    def __init__(self, real, **changed):
        self._real = real
        vars(self).update(changed)

    def __getattr__(self, name):
        return getattr(self._real, name)


def swap(pid, host=HOST, dirty=False, magic=b"b0"):
    block = bytearray(1024)
    block[:2] = magic
    block[24:28] = pid.to_bytes(4, "little")
    block[68 : 68 + len(host)] = host.encode()
    block[1007] = 0x55 if dirty else 0
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("78\n", "pid_gone"),
        ("        78\n", "pid_gone"),
        ("78\nsomehost\n", "pid_gone"),
        ("77\n", None),
        ("", None),
        ("0\n", None),
        ("78 79\n", None),
        ("-78\n", None),
        ("\u0667\u0668\n", None),
        ("text", None),
        ("7" * 30, None),
    ],
)
def test_pids_in_locks(tmp_path, proc, content, cause):
    path = tmp_path / "x.lock"
    path.write_text(content)
    found = looked_at(proc, path)
    assert (found.cause if found else None) == cause


def test_a_pattern_says_that_a_file_is_a_lock(tmp_path, proc):
    path = tmp_path / "state"
    path.write_text("")
    assert looked_at(proc, path) is None
    assert looked_at(proc, path, named=True).cause == "named"
    path.write_text("77\n")
    assert looked_at(proc, path, named=True) is None  # in use


@pytest.mark.parametrize(
    ("written", "other_user", "gone"),
    [
        (BOOTED + 500, False, True),  # written in this boot, before what has the pid now began
        (BOOTED + 995, False, False),  # too near
        (BOOTED + 5000, False, False),  # it may have written it
        (BOOTED - 500, False, False),  # from before the boot, or before the clock was set
        (BOOTED - 500, True, True),
        (BOOTED + 5000, True, False),
    ],
)
def test_a_pid_that_was_used_again(tmp_path, proc, monkeypatch, written, other_user, gone):
    path = tmp_path / "x.lock"
    path.write_text("77\n")
    monkeypatch.setattr(Proc, "uid", lambda self, pid: os.getuid() + other_user)
    found = looked_at(proc, path, written=written)
    assert bool(found) == gone and (not found or "another process" in found.why)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (swap(78), ("vim_swap", ())),
        (swap(78, dirty=True), ("vim_swap", ("unsaved_changes",))),
        (swap(78, magic=b"bd", dirty=True), ("vim_swap", ("unsaved_changes",))),  # encrypted
        (swap(77), None),
        (swap(77, dirty=True), None),
        (swap(0), None),
        (swap(78, host="elsewhere"), ("vim_swap", ("other_host",))),
        (swap(77, host=""), ("vim_swap", ("other_host",))),
        (swap(78, host=HOST + "2", dirty=True), ("vim_swap", ("other_host", "unsaved_changes"))),
        (swap(78)[:900], None),
        (b"", None),
    ],
)
def test_swap_files(tmp_path, proc, data, expected):
    path = tmp_path / ".x.swp"
    path.write_bytes(data)
    found = looked_at(proc, path)
    assert (found and (found.cause, found.blocked)) == expected


@given(st.binary(max_size=1100))
def test_any_content(data):
    """Nothing that a user writes into a file breaks the look."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/proc")
        path = f"{folder}/x.lock"
        with open(path, "wb") as stream:
            stream.write(data)
        proc = Proc(f"{folder}/proc")
        looked_at(proc, path, named=True)
        proc.close()


def test_a_second_name_blocks(tmp_path, proc):
    path = tmp_path / "x.lock"
    path.write_text("78\n")
    os.link(path, tmp_path / "other")
    assert looked_at(proc, path).blocked == ("hard_links",)


def test_sockets_and_fifos_that_nobody_serves(tmp_path):
    def is_served(name):
        handle = os.open(tmp_path / name, os.O_PATH | os.O_NOFOLLOW)
        try:
            return lock_files.served(handle, os.fstat(handle))
        finally:
            os.close(handle)

    end = socket.socket(socket.AF_UNIX)
    end.bind(str(tmp_path / "s"))
    end.listen(1)
    assert is_served("s")
    end.close()
    assert not is_served("s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "d"))
        assert is_served("d")
    os.mkfifo(tmp_path / "f")
    assert not is_served("f")
    with open(os.open(tmp_path / "f", os.O_RDWR)):
        assert is_served("f")


def test_what_a_process_holds(tmp_path):
    path = tmp_path / "x"
    path.write_text("")
    facts = os.stat(path)
    inode = (facts.st_dev, facts.st_ino)
    proc = Proc()
    assert not lock_files.held(proc, {inode}, {os.getpid()})
    holder = subprocess.Popen(["sleep", "60"], stdin=open(path))  # noqa: SIM115
    try:
        assert lock_files.held(proc, {inode}, {os.getpid()}) == {inode}
    finally:
        holder.kill()
        holder.wait()
    proc.close()


def test_locks_are_known_without_an_open_file(tmp_path):
    """Of a lock without a pid, and of one that is waited for, the inode alone is there."""
    (tmp_path / "locks").write_text(
        "1: OFDLCK ADVISORY  WRITE -1 00:2a:41 0 EOF\n2: POSIX  ADVISORY  WRITE 9 00:2a:42 0 EOF\n"
        "2: -> FLOCK  ADVISORY  WRITE 8 00:2a:43 0 EOF\n3: FLOCK  ADVISORY  WRITE 5 00:2a:44 0 EOF\nnonsense\n"
    )
    proc = Proc(str(tmp_path))
    wanted = {(1, number) for number in range(40, 46)}
    assert lock_files.held(proc, wanted, {5}) == {(1, 41), (1, 42), (1, 43)}
    proc.close()


@pytest.mark.parametrize(
    ("path", "local"), [("/home/a", True), ("/net/a/b", False), ("/a b/c", False), ("/net2", True), ("/", True)]
)
def test_file_systems(path, local):
    table = (
        b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /net rw shared:1 - nfs4 s:/ rw\n"
        b"3 1 0:6 / /a\\040b rw - fuse.sshfs x rw\n"
    )
    assert lock_files._Mounts(table).local(path) == local


@pytest.fixture
def home(tmp_path):
    """A host with one home, whoever runs the test being its owner."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "home/ann").mkdir(parents=True)
    (tmp_path / "tmp").mkdir(mode=0o1777)
    os.chmod(tmp_path / "tmp", 0o1777)
    return tmp_path


def found(home, monkeypatch, patterns=()):
    # The owner of everything here is whoever runs the test, root perhaps.
    monkeypatch.setattr(lock_files, "FIRST_PERSON", 0)
    (home / "etc/passwd").write_text(f"ann:x:{os.getuid()}:1:Ann:/home/ann:/bin/sh\nbad\n")
    proc = Proc()
    try:
        locks = lock_files.find_lock_files(str(home), proc, Clock(time.time(), 1e5), patterns)
        return {lock.path: lock for lock in locks}
    finally:
        proc.close()


def dead_pid():
    child = subprocess.Popen(["true"])
    child.wait()
    return f"{child.pid}\n"


def test_where_they_are_looked_for(home, monkeypatch):
    dead = dead_pid()
    (home / "root").mkdir()
    (home / "root/secret.lock").write_text(dead)
    for name in ("tmp/.X0-lock", "tmp/a.lock", "tmp/b", "home/ann/c.pid", "home/ann/deep/d.lock", "home/ann/\n.lock"):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dead)
    os.symlink(home / "root", home / "home/ann/tmp")  # a known place, but somebody's link
    os.symlink(home / "root/secret.lock", home / "tmp/link.lock")
    os.mkfifo(home / "tmp/fifo.lock")
    assert set(found(home, monkeypatch)) == {"/tmp/.X0-lock", "/tmp/a.lock", "/home/ann/c.pid", "/home/ann/\n.lock"}
    named = found(home, monkeypatch, ["/home/ann/*/*.lock", "/tmp/b"])
    assert set(named) - set(found(home, monkeypatch)) == {"/home/ann/deep/d.lock", "/tmp/b"}
    assert named["/tmp/b"].by_name and not named["/home/ann/deep/d.lock"].by_name


def test_a_folder_in_which_anybody_may_exchange_it(home, monkeypatch):
    (home / "open").mkdir()
    os.chmod(home / "open", 0o777)
    (home / "open/x.lock").write_text(dead_pid())
    assert found(home, monkeypatch, ["/open/x.lock"])["/open/x.lock"].blocked == ("folder",)


# --- moving them away ---------------------------------------------------------------------------------------------


class Moving:
    """One stale lock in a folder of its owner's, and `at`, what happens at which step."""

    def __init__(self, tmp_path, elsewhere, monkeypatch):
        self.folder, self.trash = tmp_path / "folder", tmp_path / "trash"
        self.folder.mkdir()
        self.path = self.folder / "x.lock"
        self.path.write_text(dead_pid())
        os.chmod(self.path, 0o640)
        os.utime(self.path, (1e9, 1e9))
        self.elsewhere, self.at = elsewhere, {}
        if elsewhere:
            real = os.rename

            def rename(src, dst, *, src_dir_fd=None, dst_dir_fd=None):
                if src_dir_fd is not None and not os.path.samestat(os.fstat(src_dir_fd), os.fstat(dst_dir_fd)):
                    raise OSError(errno.EXDEV, "Invalid cross-device link")
                real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

            monkeypatch.setattr(act.os, "rename", rename)

    def take(self):
        proc = Proc()
        clock = Clock(time.time(), 1e5)
        with open(self.path) as stream:
            lock = lock_files.Examiner(proc, clock).examine(
                stream.fileno(), str(self.path), os.fstat(stream.fileno()), False
            )
        trash = act.Trash(str(self.trash), stop=lambda step: self.at.get(step, lambda: None)())
        examiner = lock_files.Examiner(proc, clock)
        try:
            return trash.take(lock, 0.0, lambda handle, facts: examiner.examine(handle, lock.path, facts, False))
        finally:
            proc.close()

    def in_trash(self):
        return sorted(path.name.split("-", 2)[-1] for path in self.trash.glob("*/*"))


@pytest.fixture(params=[False, True], ids=["same file system", "another"])
def moving(tmp_path, request, monkeypatch):
    return Moving(tmp_path, request.param, monkeypatch)


def test_moved_as_it_was(moving):
    before = os.stat(moving.path)
    text = moving.path.read_text()
    taken = moving.take()
    after = os.stat(taken.trash)
    assert (after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
        before.st_mtime_ns,
    )
    assert os.listdir(moving.folder) == [] and moving.in_trash() == ["x.lock", "x.lock.json"]
    trash = pathlib.Path(taken.trash)
    assert trash.read_text() == text and taken.trash.startswith(f"{moving.trash}/1970-01-01/000000-")
    assert json.loads(trash.with_name(f"{trash.name}.json").read_text())["path"] == str(moving.path)
    assert os.stat(moving.trash).st_mode & 0o777 == 0o700


def test_the_longest_name(moving):
    moving.path = moving.path.rename(moving.folder / ("\u20ac" * 83 + ".lock"))
    assert len(os.fsencode(moving.path.name)) == 254 and moving.take().trash


def replaced(moving, make):
    def do():
        if os.path.lexists(moving.path):
            os.unlink(moving.path)
        make(moving.path)

    return do


@pytest.mark.parametrize("step", ["folder", "checked"])
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: os.symlink("/etc/passwd", path), os.path.islink),
        (lambda path: path.write_text("new"), lambda path: path.read_text() == "new"),
        (os.mkfifo, lambda path: path.is_fifo()),
        (lambda path: path.mkdir(), lambda path: path.is_dir()),
    ],
)
def test_what_was_put_in_its_place_stays_there(moving, step, make, what):
    moving.at[step] = replaced(moving, make)
    taken = moving.take()
    assert taken.because == "changed" and taken.trash is None, taken
    assert what(moving.path) and os.listdir(moving.folder) == ["x.lock"] and moving.in_trash() == []


@pytest.mark.parametrize("step", ["folder", "checked"])
def test_one_that_went_by_itself(moving, step):
    moving.at[step] = lambda: os.unlink(moving.path)
    assert moving.take().because == "gone" and moving.in_trash() == []


@pytest.mark.parametrize("step", ["folder", "checked"])
def test_one_that_somebody_opens_meanwhile(moving, step):
    """At the last moment, too: it goes back under its name, the same file."""
    inode, holders = os.stat(moving.path).st_ino, []
    moving.at[step] = lambda: holders.append(subprocess.Popen(["sleep", "60"], stdin=open(moving.path)))  # noqa: SIM115
    try:
        taken = moving.take()
    finally:
        holders[0].kill()
        holders[0].wait()
    assert taken.because == "held" and os.stat(moving.path).st_ino == inode and moving.in_trash() == []


def test_nobody_gets_the_lock_while_it_is_moved(moving):
    refused = []

    def others_try():
        code = (
            "import fcntl, sys\nf = open(sys.argv[1], 'r+')\nfor lock in (fcntl.flock, fcntl.lockf):\n"
            "    try: lock(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print('got it')\n    except OSError: print('refused')"
        )
        said = subprocess.run(["python3", "-c", code, moving.path], capture_output=True, text=True, check=True).stdout
        refused.extend(said.split("\n")[:2])

    moving.at["checked"] = others_try
    assert moving.take().trash and refused == ["refused", "refused"]


def test_one_that_is_locked(moving):
    with open(moving.path, "r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert moving.take().because == "held"


def test_a_name_that_was_taken_again_is_not_taken_from_its_new_owner(moving):
    def twice():
        replaced(moving, lambda path: path.write_text("theirs"))()

    moving.at["checked"] = twice
    moving.at["moved"] = lambda: moving.path.write_text("newer")
    taken = moving.take()
    assert "its name is taken" in taken.trouble and moving.path.read_text() == "newer"
    kept = [path for path in (*moving.trash.glob("*/*"), *moving.folder.iterdir()) if path != moving.path]
    assert [path.read_text() for path in kept] == ["theirs"]


def test_a_folder_that_became_a_link(moving, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.lock").write_text("precious")
    os.rename(moving.folder, tmp_path / "aside")
    os.symlink(tmp_path / "aside", moving.folder)
    assert moving.take().because == "changed" and os.listdir(tmp_path / "aside") == ["x.lock"]
    assert (other / "x.lock").read_text() == "precious"


def test_a_folder_that_is_renamed_meanwhile_is_still_the_one(moving, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.lock").write_text("precious")

    def exchange():
        os.rename(moving.folder, tmp_path / "aside")
        os.symlink(other, moving.folder)

    moving.at["checked"] = exchange
    taken = moving.take()
    assert taken.trash and (other / "x.lock").read_text() == "precious" and os.listdir(tmp_path / "aside") == []
