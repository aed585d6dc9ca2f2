# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host is a directory of its own here, and everything done to it may be made to fail, or be the last thing done."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import stat
import subprocess
import sys
import time
import zipfile

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine import guard, journal, logins, transaction
from ansible_collections.sessionops.policy.plugins.module_utils._engine.files import Outcome, Refused, World
from ansible_collections.sessionops.policy.plugins.module_utils._engine.namespace import Unavailable
from ansible_collections.sessionops.policy.plugins.module_utils._engine.order import Commands, read_order
from ansible_collections.sessionops.policy.plugins.module_utils._engine.revert import main
from ansible_collections.sessionops.policy.plugins.module_utils._engine.transaction import Failed, Report

EFFECTS = (
    *("mkdir", "rmdir", "create", "write", "chown", "chmod", "setxattr", "utime", "fsync", "link", "rename", "unlink"),
    *("run", "rehearse", "detach"),
)
# What needs space on the disk.
GROWING = ("mkdir", "create", "write", "setxattr", "link")


class Killed(BaseException):
    pass


class Host(World):
    """Counts what is done, lets one thing fail, and says what commands answer."""

    def __init__(self, root, fault=None, at=0, place=False, commands=None):
        super().__init__(str(root))
        self.fault, self.at, self.place = fault, at, place
        self.commands = commands or {}
        self.ran = []
        self.did = []
        self.dead = False

    def run(self, argv):
        self.ran.append(argv[0])
        answer = self.commands.get(argv[0], 0)
        if callable(answer):
            answer = answer()
        return Outcome(tuple(argv), answer, "its own words" if answer else "")

    def rehearse(self, folders, work):
        if self.place:
            raise Unavailable("not allowed")
        return self.commands.get("rehearse")

    def fsync(self, fd):
        """Without waiting for the disk."""
        if self.fault == "full" and len(self.did) >= self.at and stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")

    def detach(self, argv):
        self.ran.append(argv[-3])

    def now(self):
        return len(self.did)

    def sleep(self, seconds):
        self.did.append("sleep")


def _faulty(name):
    real = getattr(Host, name)

    def act(self, *args):
        if self.dead:
            raise Killed
        self.did.append(name)
        now = len(self.did)
        if self.fault == "before" and now == self.at:
            self.dead = True
            raise Killed
        if self.fault == "full" and now >= self.at and name in GROWING:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fault == "once" and now == self.at and name not in ("run", "rehearse", "detach"):
            raise OSError(errno.EIO, "Input/output error")
        if name == "write":
            # Writes may be short.
            args = (args[0], args[1][: max(1, len(args[1]) // 2)])
        result = real(self, *args)
        if self.fault == "after" and now == self.at:
            self.dead = True
            raise Killed
        return result

    return act


for _name in EFFECTS:
    setattr(Host, _name, _faulty(_name))


@pytest.fixture
def root(tmp_path):
    """A host with its files in the state before."""

    def build(name):
        top = tmp_path / name
        etc = top / "etc"
        (top / "var/lib").mkdir(parents=True)
        etc.mkdir()
        (etc / "main.conf").write_bytes(b"Keep me\xff\r\nand me")
        (etc / "main.conf").chmod(0o640)
        (etc / "old.conf").write_bytes(b"old\n")
        (etc / "plain.conf").write_bytes(b"plain\n")
        (etc / "mode.conf").write_bytes(b"same\n")
        os.utime(etc / "main.conf", ns=(10**18, 10**18))
        go(top, [content("/etc/made/by/us.conf")])
        return top

    return build


def content(path, text="new\n", **more):
    return {"path": path, "content": text, "state": "present", **more}


def block(path, text="X 1\n", **more):
    return {"path": path, "block": text, "state": "present", **more}


def absent(path, **more):
    return {"path": path, "state": "absent", **more}


def order(files, name="t", **commands):
    blank = {
        "content": None,
        "block": None,
        "insert": "top",
        "comment": "#",
        "create": False,
        "mode": None,
        "owner": None,
        "group": None,
    }
    return read_order(
        {
            "name": name,
            "files": [{**blank, **entry} for entry in files],
            "validate": [],
            "apply": [],
            "verify": [],
            **commands,
        }
    )


def go(top, files, check=False, host=None, report=None, **more):
    report = report or Report()
    transaction.run(host or Host(top), order(files, **more), check, report)
    return report


def tree(top):
    """All of the host that a person could see, but for directories' times and the history."""
    found = {}
    for folder, folders, names in os.walk(top):
        if journal.TRANSACTIONS in folders:
            folders.remove(journal.TRANSACTIONS)
        for name in folders + names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            what = None
            if kind == stat.S_IFLNK:
                what = os.readlink(path)
            elif kind == stat.S_IFREG:
                with open(path, "rb") as stream:
                    what = stream.read()
            found[os.path.relpath(path, top)] = (oct(status.st_mode), what)
    return found


EVERYTHING = [
    content("/etc/new/deep/a.conf"),
    content("/etc/plain.conf", "changed\n", mode="0600"),
    content("/etc/mode.conf", "same\n", mode="0600"),
    block("/etc/main.conf", insert="bottom"),
    block("/etc/born.conf", create=True),
    block("/etc/missing.conf"),
    absent("/etc/old.conf"),
    absent("/etc/made/by/us.conf"),
]
COMMANDS = {"validate": [["true"]], "apply": [["sh", "reload"]], "verify": [["sh", "look"]]}


def elsewhere(top, host=None):
    """The next transaction on the host, of another name, with nothing of its own to change."""
    return go(top, [block("/etc/missing.conf")], name="other", host=host)


@pytest.fixture
def states(root):
    """The host before and after `EVERYTHING`, and how many effects lie between them."""
    top = root("measured")
    before = tree(top)
    host = Host(top)
    report = go(top, EVERYTHING, host=host, **COMMANDS)
    assert [entry["action"] for entry in report.files] == [
        "created", "changed", "changed", "changed", "created", "skipped", "removed", "removed",
    ]  # fmt: skip
    after = tree(top)
    assert after["etc/main.conf"][1].startswith(b"Keep me\xff\r\nand me\n# BEGIN sessionops.policy t\r\n")
    assert "etc/made" not in after
    assert not go(top, EVERYTHING, **COMMANDS).changed
    assert tree(top) == after
    return before, after, len(host.did)


@pytest.mark.parametrize("place", [False, True])
@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_kill_at_any_step_is_undone_by_the_next_run(root, states, fault, place):
    before, after, steps = states
    seen = set()
    for at in range(1, steps + 2):
        top = root(f"{fault}-{at}")
        host = Host(top, fault, at, place)
        try:
            go(top, EVERYTHING, host=host, **COMMANDS)
        except Killed:
            assert len(host.did) == at
        again = Host(top)
        report = elsewhere(top, again)
        seen.add(report.recovered)
        assert tree(top) == (before if report.recovered or tree(top) != after else after), (at, host.did[-1])
        if report.recovered:
            assert again.ran == ["sh"], "the service reads the former files"
        assert not elsewhere(top).changed
        # What the journal forgot to undo, the same transaction would stumble over.
        go(top, EVERYTHING, **COMMANDS)
        assert tree(top) == after
    assert seen == {True, False}


def test_a_kill_in_the_middle_of_undoing_is_undone_as_well(root, states):
    before, _after, steps = states
    for at in range(10, steps - 5, 11):
        for again in range(1, steps, 2):
            top = root(f"{at}-{again}")
            with pytest.raises(Killed):
                go(top, EVERYTHING, host=Host(top, "before", at), **COMMANDS)
            try:
                elsewhere(top, Host(top, "after", again))
            except Killed:
                elsewhere(top)
                assert tree(top) == before, (at, again)
            else:
                assert tree(top) == before, at
                break
        else:
            raise AssertionError("undoing never came to its end")


@pytest.mark.parametrize("fault", ["full", "once"])
def test_a_failure_at_any_step_leaves_the_host_as_it_was(root, states, fault):
    before, after, steps = states
    failures = 0
    for at in range(1, steps + 1):
        top = root(f"{fault}-{at}")
        host = Host(top, fault, at)
        try:
            go(top, EVERYTHING, host=host, **COMMANDS)
        except (Failed, OSError) as problem:
            failures += 1
            assert tree(top) == before, (at, host.did[at - 1], problem)
            if isinstance(problem, Failed):
                assert "No space left on device" in str(problem) or "Input/output error" in str(problem)
        else:
            assert not elsewhere(top).recovered
            assert tree(top) == after, (at, host.did[at - 1])
    assert failures > steps // 2


@pytest.mark.parametrize("step", ["apply", "verify"])
def test_a_service_that_refuses_gets_its_former_files_back(root, step):
    top = root("host")
    before = tree(top)
    commands = {**COMMANDS, step: [["false", "it"]]}
    host = Host(top, commands={"false": 3})
    report = Report()
    with pytest.raises(Failed, match=r"`false it` ended with 3: its own words\. Every file is as it was before"):
        go(top, EVERYTHING, host=host, report=report, **commands)
    assert tree(top) == before
    assert host.ran == (["false", "false"] if step == "apply" else ["sh", "false", "sh"])
    assert "/etc/main.conf" in report.restored
    assert not report.changed


def test_a_folder_has_not_changed_since_the_service_read_it(root):
    """Else policy_info takes a daemon that was just reloaded for one that missed a change."""
    top = root("host")
    seen = []

    def reload():
        seen.append((top / "etc").stat().st_mtime_ns)
        time.sleep(0.05)  # the clock of a file system moves in steps of up to 10 ms
        return 0

    go(top, [content("/etc/plain.conf")], host=Host(top, commands={"true": reload}), apply=[["true"]])
    assert seen == [(top / "etc").stat().st_mtime_ns]


def test_a_former_configuration_that_the_service_refuses_too_is_said(root):
    top = root("host")
    with pytest.raises(Failed, match="may still run with the refused ones"):
        go(top, EVERYTHING, host=Host(top, commands={"sh": 1}), **COMMANDS)


@pytest.mark.parametrize("place", [False, True])
def test_a_validation_that_fails(root, place):
    top = root("host")
    before = tree(top)
    report = Report()
    host = Host(top, place=place, commands={"true": 1, "rehearse": "Validation failed: no"})
    with pytest.raises(Failed, match="Validation failed: "):
        go(top, EVERYTHING, host=host, report=report, **COMMANDS)
    assert tree(top) == before
    assert report.validated_in == ("place" if place else "namespace")
    assert "sh" not in host.ran, "nothing was read that was not valid"
    assert bool(report.restored) == place


@pytest.mark.parametrize("place", [False, True])
def test_check_mode_does_nothing_at_all(root, place):
    top = root("host")
    before = tree(top)
    host = Host(top, place=place)
    report = go(top, EVERYTHING, check=True, host=host, **COMMANDS)
    assert tree(top) == before
    assert host.did == ["rehearse"]
    assert report.changed
    assert report.diff
    assert bool(report.warnings) == place
    assert report.validated_in == ("none" if place else "namespace")


def test_check_mode_after_a_kill_only_says_so(root, states):
    top = root("host")
    with pytest.raises(Killed):
        go(top, EVERYTHING, host=Host(top, "before", states[2] - 30), **COMMANDS)
    before = tree(top)
    report = go(top, EVERYTHING, check=True, **COMMANDS)
    assert tree(top) == before
    assert "still to be rolled back" in report.warnings[0]


def test_nothing_to_change_touches_nothing_and_runs_nothing(root):
    top = root("host")
    go(top, EVERYTHING, **COMMANDS)
    host = Host(top)
    assert not go(top, EVERYTHING, host=host, **COMMANDS).changed
    assert host.did == []


def test_absent_takes_all_of_ours_away(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "etc/main.conf").write_bytes(b"a\r\nb")
    before = tree(tmp_path)
    files = [content("/etc/x/y/a.conf"), block("/etc/main.conf", insert="bottom"), block("/etc/z/b", create=True)]
    go(tmp_path, files)
    gone = [absent("/etc/x/y/a.conf"), absent("/etc/main.conf", block=""), absent("/etc/z/b", block="")]
    assert go(tmp_path, gone).changed
    assert tree(tmp_path) == before
    assert not go(tmp_path, gone).changed


def test_what_somebody_else_put_there_stays(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    go(tmp_path, [content("/etc/x/a.conf"), block("/etc/x/b.conf", create=True)])
    with (tmp_path / "etc/x/b.conf").open("a") as stream:
        stream.write("theirs\n")
    go(tmp_path, [absent("/etc/x/a.conf"), absent("/etc/x/b.conf", block="")])
    assert (tmp_path / "etc/x/b.conf").read_text() == "theirs\n"
    assert not (tmp_path / "etc/x/a.conf").exists()


def test_an_edit_made_after_the_kill_is_not_undone(root, states):
    top = root("host")
    host = Host(top)
    host.commands = {"sh": lambda: setattr(host, "dead", True)}
    with pytest.raises(Killed):
        go(top, EVERYTHING, host=host, **COMMANDS)
    (top / "etc/plain.conf").write_text("repaired by hand\n")
    report = elsewhere(top)
    assert report.recovered
    assert any("/etc/plain.conf was changed by somebody else" in warning for warning in report.warnings)
    assert (top / "etc/plain.conf").read_text() == "repaired by hand\n"
    assert (top / "etc/old.conf").read_text() == "old\n"


def test_what_cannot_be_put_back_is_named_with_its_bytes(root):
    top = root("host")

    class Broken(Host):
        def rename(self, name, other, folder):
            if name.endswith(".old"):
                raise OSError(errno.EIO, "Input/output error")
            super().rename(name, other, folder)

    with pytest.raises(Failed, match=r"/etc/plain.conf could not be put back \(Input/output error\)") as caught:
        go(top, EVERYTHING, host=Broken(top, commands={"sh": 1}), **COMMANDS)
    where = str(caught.value).split("/etc/plain.conf could not")[1].split("bytes are in ")[1].split(". ")[0]
    assert (top / where.lstrip("/")).read_bytes() == b"plain\n"
    with pytest.raises(Failed, match="can't be rolled back"):
        elsewhere(top, Broken(top))
    assert elsewhere(top).recovered
    assert (top / "etc/plain.conf").read_text() == "plain\n"


def test_a_file_is_put_back_without_its_second_name_too(root):
    top = root("host")
    before = tree(top)

    class NoLinks(Host):
        def link(self, name, other, folder):
            raise OSError(errno.EPERM, "Operation not permitted")

    with pytest.raises(Failed, match="Every file is as it was before"):
        go(top, EVERYTHING, host=NoLinks(top, commands={"sh": 1}), **COMMANDS)
    assert tree(top) == before
    assert os.stat(top / "etc/main.conf").st_mtime_ns == 10**18


def test_one_at_a_time(root):
    top = root("host")
    before = tree(top)

    def second():
        with pytest.raises(Refused, match="another transaction has been running on this host for 60 s"):
            elsewhere(top)
        return 0

    go(top, EVERYTHING, host=Host(top, commands={"sh": second}), **COMMANDS)
    assert tree(top) != before


# --- paths ------------------------------------------------------------------------------------------------------


def refused(top, files, match):
    before = tree(top)
    host = Host(top)
    with pytest.raises(Refused, match=match):
        go(top, files, host=host)
    assert tree(top) == before
    assert host.did == []


def test_a_link_of_roots_is_edited_where_it_leads(root):
    top = root("host")
    (top / "srv").mkdir()
    (top / "srv/real.conf").write_text("a\n")
    (top / "etc/link.conf").symlink_to("/srv/real.conf")
    (top / "etc/dir").symlink_to("../srv/./")
    go(top, [content("/etc/link.conf", "b\n"), content("/etc/dir/other.conf")])
    assert (top / "srv/real.conf").read_text() == "b\n"
    assert (top / "srv/other.conf").exists()
    assert os.readlink(top / "etc/link.conf") == "/srv/real.conf"


@pytest.mark.parametrize("mode", [0o1777, 0o775, 0o757])
def test_a_link_where_others_can_write_is_not_followed(root, mode):
    top = root("host")
    (top / "tmp").mkdir()
    (top / "tmp/link.conf").symlink_to("/etc/plain.conf")
    (top / "tmp/dir").symlink_to("/etc")
    (top / "tmp").chmod(mode)
    for path in ("/tmp/link.conf", "/tmp/dir/plain.conf"):
        refused(top, [content(path)], "is not followed")
    # Nor below it, where root's own folder may have been put in another place.
    (top / "tmp/root").mkdir(mode=0o755)
    (top / "tmp/root/link.conf").symlink_to("/etc/plain.conf")
    refused(top, [content("/tmp/root/link.conf")], "is not followed")


def test_a_hard_link_where_others_can_write_is_refused(root):
    top = root("host")
    (top / "tmp").mkdir()
    (top / "tmp").chmod(0o1777)
    os.link(top / "etc/plain.conf", top / "tmp/twice.conf")
    refused(top, [content("/tmp/twice.conf")], "second name")


def test_two_ways_to_the_same_file_are_refused(root):
    top = root("host")
    (top / "etc/link.conf").symlink_to("plain.conf")
    refused(top, [content("/etc/plain.conf"), content("/etc/link.conf")], "the same file: name it once")
    refused(top, [content("/etc/none"), block("/etc/none", create=True)], "the same file: name it once")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("etc/plain.conf", "no plain absolute path"),
        ("/etc/../etc/plain.conf", "no plain absolute path"),
        ("/etc/plain.conf/", "no plain absolute path"),
        ("//etc/plain.conf", "no plain absolute path"),
        ("/", "no plain absolute path"),
        ("/etc", "a directory"),
        ("/etc/fifo", "a FIFO"),
        ("/etc/socket", "a socket"),
        ("/etc/plain.conf/x", "not a directory"),
        ("/etc/loop", "round in circles"),
        ("/etc/todir", "a directory"),
        ("/etc/" + "x" * 300, "File name too long"),
    ],
)
def test_a_path_that_is_no_file(root, path, match, monkeypatch):
    top = root("host")
    os.mkfifo(top / "etc/fifo")
    monkeypatch.chdir(top / "etc")
    socket.socket(socket.AF_UNIX).bind("socket")
    (top / "etc/loop").symlink_to("loop")
    (top / "etc/todir").symlink_to("../var")
    refused(top, [content("/etc/other.conf"), content(path)], match)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (content("/etc/a", mode="644x"), "quoted octal"),
        (content("/etc/a", mode=420), "quoted octal"),
        (content("/etc/a", owner="nobody-of-that-name"), "no user 'nobody-of-that-name'"),
        (content("/etc/a", group="nobody-of-that-name"), "no group 'nobody-of-that-name'"),
        (content("/etc/a", block="x"), "give only one"),
        ({"path": "/etc/a", "state": "present"}, "say with content or block"),
        (block("/etc/a", " \n"), "block is empty"),
        (block("/etc/a", comment="#\n"), "comment"),
        (content("/etc/a\0"), "NUL"),
    ],
)
def test_an_order_that_makes_no_sense(entry, match):
    with pytest.raises(Refused, match=match):
        order([entry])


@pytest.mark.parametrize("command", ["sshd -t", ["sshd -t"], [], [None], [["sshd"]], [""], ["a\0"]])
def test_a_command_that_is_none(command):
    with pytest.raises(Refused, match="validate: "):
        order([content("/etc/a")], validate=[command])


def test_a_program_that_is_missing(root):
    top = root("host")
    before = tree(top)
    with pytest.raises(Refused, match="there is no program no-such-program"):
        go(top, EVERYTHING, apply=[["no-such-program"]])
    assert tree(top) == before


def test_names():
    with pytest.raises(Refused, match="lower case"):
        order([content("/etc/a")], name="../x")
    with pytest.raises(Refused, match="at least one file"):
        order([])


# --- what must be confirmed -------------------------------------------------------------------------------------

WAITING = {**COMMANDS, "confirm_within": 60}
INITTAB = "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n"


@pytest.fixture
def watched(root, monkeypatch):
    """A host whose init reads /etc/inittab, to which each transaction comes over a connection of its own."""
    # Whoever runs the tests over ssh has one connection for all of them.
    monkeypatch.setattr(logins, "own_connection", lambda: None)

    def build(name):
        top = root(name)
        (top / "etc/inittab").write_text(INITTAB)
        return top

    return build


def revert(top, *argv, host=None):
    """What the host runs by itself; what it logged."""
    said = []
    main(argv, host or Host(top), lambda *line: said.append(line[2:]) or True)
    return said


def test_what_is_confirmed_stays(watched):
    top = watched("host")
    report = go(top, EVERYTHING, **WAITING)
    assert report.pending and report.id
    assert b"bootwait" in (top / "etc/inittab").read_bytes()
    assert list((top / "etc").glob(".session-policy-*.old"))
    confirmed = Report()
    transaction.confirm(Host(top), "t", report.id, confirmed)
    after = tree(top)
    assert (top / "etc/inittab").read_text() == INITTAB
    assert not list((top / "etc").glob(".session-policy-*"))
    assert "var/lib/session-policy/revert.pyz" not in after
    assert revert(top, "now", report.id) == revert(top, "boot") == []
    assert tree(top) == after
    again = Report()
    transaction.confirm(Host(top), "t", report.id, again)
    assert confirmed.changed and not again.changed
    assert not go(top, EVERYTHING, **WAITING).changed


@pytest.mark.parametrize("verb", ["now", "boot"])
def test_what_is_not_confirmed_is_taken_back_and_told_once(watched, verb):
    top = watched("host")
    before = tree(top)
    report = go(top, EVERYTHING, **WAITING)
    host = Host(top)
    ((message, facts),) = revert(top, verb, *[report.id] * (verb == "now"), host=host)
    assert tree(top) == before
    assert host.ran == (["sh"] if verb == "now" else []), "at boot there is no service yet"
    assert message == "took back an unconfirmed change"
    assert facts["id"] == report.id
    with pytest.raises(Failed, match="has taken back the change"):
        transaction.confirm(Host(top), "t", report.id, Report())
    assert elsewhere(top).reverted == [], "whoever confirmed too late was told"
    go(top, EVERYTHING, **WAITING)
    revert(top, "boot")
    assert [entry["name"] for entry in elsewhere(top, Host(top)).reverted] == ["t"]
    assert elsewhere(top).reverted == []


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_kill_at_any_step_before_the_confirmation_is_taken_back(watched, fault):
    top = watched("measured")
    host = Host(top)
    report = go(top, EVERYTHING, host=host, **WAITING)
    steps = len(host.did)
    last = Host(top)
    transaction.confirm(last, "t", report.id, Report())
    after, more = tree(top), len(last.did)
    ends = set()
    for at in range(1, steps + more + 1):
        top = watched(f"{fault}-{at}")
        before = tree(top)
        report = Report()
        try:
            go(top, EVERYTHING, host=Host(top, fault, at), report=report, **WAITING)
            transaction.confirm(Host(top, fault, at - steps), "t", report.id, Report())
        except Killed:
            pass
        for old in journal.pending(str(top)):
            revert(top, *(["boot"] if at % 2 else ["now", old.key]))
        elsewhere(top)
        now = tree(top)
        assert now in (before, after), at
        ends.add(now == after)
    assert ends == {True, False}


def test_the_timer_is_stopped_only_when_the_change_is_confirmed(watched):
    """Whoever is killed between the two would leave a change that waits for ever."""
    top = watched("host")
    (top / "run/systemd/system").mkdir(parents=True)
    report = go(top, EVERYTHING, **WAITING)
    waiting = []
    host = Host(top, commands={"systemctl": lambda: waiting.append(len(journal.pending(str(top)))) or 0})
    transaction.confirm(host, "t", report.id, Report())
    assert waiting == [0]


def test_a_full_disk_does_not_keep_it_from_being_taken_back(watched):
    top = watched("host")
    (top / "etc/inittab").unlink()
    before = tree(top)
    report = go(top, EVERYTHING, **WAITING)
    assert "inittab" in report.warnings[0]
    revert(top, "now", report.id, host=Host(top, "full", 0))
    assert tree(top) == before


def test_what_cannot_be_taken_back_is_tried_again(watched):
    top = watched("host")
    before = tree(top)
    report = go(top, EVERYTHING, **WAITING)
    for each in (top / "etc").glob(".session-policy-*.old"):
        each.unlink()

    class Full(Host):
        def sleep(self, seconds):
            self.fault = None

    ((message, facts), (done, _facts)) = revert(top, "now", report.id, host=Full(top, "full", 0))
    assert message == "could not take back an unconfirmed change"
    assert "its former bytes are in /var/lib/session-policy/.transactions/" in facts["problem"]
    assert done == "took back an unconfirmed change"
    assert tree(top) == before


def test_another_change_waits_or_is_refused(watched):
    top = watched("host")
    report = go(top, EVERYTHING, **{**WAITING, "confirm_within": 600})
    with pytest.raises(Refused, match="waits for its confirmation for another"):
        elsewhere(top)
    checked = go(top, [content("/etc/plain.conf")], check=True)
    assert "waits for its confirmation" in checked.warnings[0]
    revert(top, "now", report.id)
    assert not elsewhere(top).recovered


def test_a_host_that_cannot_be_armed_is_not_touched(watched):
    top = watched("host")
    (top / "etc/inittab").unlink()
    (top / "etc/inittab").mkdir()
    before = tree(top)
    with pytest.raises(Failed, match=r"can't be made to take the change back by itself: .*confirm_within: 0 does"):
        go(top, EVERYTHING, **WAITING)
    (top / "etc/inittab").rmdir()
    before.pop("etc/inittab")
    elsewhere(top)
    assert tree(top) == before


def test_the_program_is_what_is_in_the_repository_and_complete(tmp_path):
    path = tmp_path / "revert.pyz"
    path.write_bytes(guard.program())
    engine = pathlib.Path(guard.__file__).parent
    with zipfile.ZipFile(path) as archive:
        for part in guard.PARTS:
            assert archive.read(f"engine/{part}.py") == (engine / f"{part}.py").read_bytes()
    load = f"import sys; sys.path.insert(0, {str(path)!r}); import engine.revert; print(engine.revert.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", load], capture_output=True, text=True, check=True)
    assert str(path) in done.stdout


def test_taking_everything_away_takes_the_history_along(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    go(tmp_path, [content("/etc/a.conf")])
    for n in range(7):
        go(tmp_path, [content("/etc/a.conf", f"{n}\n")])
    assert [entry.state for entry in journal.history(str(tmp_path))] == [journal.DONE] * journal.KEPT
    go(tmp_path, [absent("/etc/a.conf")])
    assert not (tmp_path / "var/lib/session-policy").exists()


def test_a_file_that_stays_lets_the_history_go_where_that_is_said(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/lib").mkdir(parents=True)
    go(tmp_path, [content("/etc/a.conf"), content("/etc/shells", "sh\n")])
    go(tmp_path, [absent("/etc/a.conf"), content("/etc/shells", "sh\ntmux\n")])
    assert len(journal.history(str(tmp_path))) == 2
    go(tmp_path, [absent("/etc/a.conf"), content("/etc/shells", "sh\ntmux\nscreen\n")], forget=True)
    assert not journal.history(str(tmp_path))


def test_back_to_what_was_before_and_forth_again(root):
    top = root("host")
    before = tree(top)
    go(top, EVERYTHING, **COMMANDS)
    after = tree(top)
    for there in (before, after):
        report = Report()
        transaction.run_back(Host(top), Commands(), 0, None, False, report)
        assert report.changed
        assert tree(top) == there
    (top / "etc/plain.conf").write_text("theirs\n")
    with pytest.raises(Refused, match=r"/etc/plain\.conf was changed by somebody else"):
        transaction.run_back(Host(top), Commands(), 0, None, False, Report())
