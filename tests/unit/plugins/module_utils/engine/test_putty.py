# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of saved sessions, and files in a home: here our own, and as another user where we are root."""

from __future__ import annotations

import os
import pwd
import re
import time

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine import putty
from ansible_collections.sessionops.policy.plugins.module_utils._engine.as_user import Account, as_user, find_account
from ansible_collections.sessionops.policy.plugins.module_utils._engine.files import Refused
from hypothesis import given
from hypothesis import strategies as st

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
keys = st.text(st.characters(exclude_characters="=\r\n", exclude_categories=["Cs"]), max_size=6)
lines = st.tuples(keys, st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8))


@pytest.mark.parametrize(
    ("name", "unix", "registry"),
    [
        ("Default Settings", "Default%20Settings", "Default%20Settings"),
        ("jump_host-1.example+x@y", "jump_host-1.example+x@y", "jump_host-1.example+x@y"),
        (".a.b", ".a.b", "%2Ea.b"),
        ("a/b\\c*d?e%f~", "a%2Fb%5Cc%2Ad%3Fe%25f%7E", "a/b%5Cc%2Ad%3Fe%25f~"),
        ("[x] (y)", "%5Bx%5D%20%28y%29", "[x]%20(y)"),
    ],
)
def test_names_are_escaped_as_each_putty_does(name, unix, registry):
    assert putty.unix_name(name) == unix
    assert putty.registry_name(name) == registry


@given(names)
def test_a_file_name_leads_nowhere_and_back_to_its_session(name):
    try:
        found = putty.unix_name(name)
    except Refused:
        assert name in (".", "..") or len(name.encode()) > 80
        return
    assert "/" not in found and found.isascii()
    undone = bytearray()
    at = 0
    while at < len(found):
        undone += bytes([int(found[at + 1 : at + 3], 16)]) if found[at] == "%" else found[at].encode()
        at += 3 if found[at] == "%" else 1
    assert undone.decode() == name


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "\x00", "ü" * 50])
def test_there_is_no_session_of_such_a_name(name):
    with pytest.raises(Refused):
        putty.unix_name(name)


@pytest.mark.parametrize("name", ["", "Ü", "a\tb"])
def test_there_is_no_such_key_in_the_registry(name):
    with pytest.raises(Refused):
        putty.registry_name(name)


@given(
    st.lists(lines, min_size=1, max_size=8),
    st.booleans(),
    st.dictionaries(keys.filter(bool), st.text("ab=", max_size=3) | st.none(), max_size=3),
)
def test_an_edit_changes_what_it_names_and_no_more(before, windows, wanted):
    end = "\r\n" if windows else "\n"
    text = "".join(f"{key}={value}{end}" for key, value in before).encode()
    after = putty.edit(text, wanted)
    assert putty.edit(after, wanted) == after
    values = {}
    for line in after.decode().split(end)[:-1]:
        key, _equals, value = line.partition("=")
        values.setdefault(key, value)  # PuTTY takes the first
    for key, value in wanted.items():
        assert values.get(key) == value
    others = [f"{key}={value}" for key, value in before if key not in wanted]
    assert [line for line in after.decode().split(end)[:-1] if line.partition("=")[0] not in wanted] == others


def test_lines_that_are_none_and_a_missing_last_end_stay():
    assert putty.edit(b"no equals sign\nA=1", {"A": "2"}) == b"no equals sign\nA=2"
    assert putty.edit(b"A=1", {"B": "2"}) == b"A=1\nB=2\n"
    assert putty.edit(b"A=1\nA=2\n", {"A": "3"}) == b"A=3\nA=2\n"
    assert putty.edit(b"A=1\nA=2\nB=3\n", {"A": None}) == b"B=3\n"


@pytest.mark.parametrize(
    ("keepalive", "expected"),
    [(0, ("0", "0")), ("59", ("0", "59")), ("1m30s", ("1", "30")), ("2h", ("120", "0")), (None, None), ("", None)],
)
def test_a_duration_is_minutes_and_the_rest(keepalive, expected):
    wanted = putty.wanted_settings(keepalive, None, {})
    assert wanted == (dict(zip(("PingInterval", "PingIntervalSecs"), expected)) if expected else {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("soon", None, {}), "keepalive: 'soon' is not a duration"),
        ((5, None, {"PingInterval": 1}), "PingInterval is what keepalive"),
        ((None, True, {"TCPKeepalives": 1}), "TCPKeepalives is what keepalive or tcp_keepalives says"),
        ((None, None, {"a=b": 1}), "must not be empty, nor hold ="),
        ((None, None, {"HostName": "a\nb"}), "without a line's end"),
        ((None, None, {"HostName": ["a"]}), "write a text without a line's end, or a whole number"),
    ],
)
def test_what_is_wrong_has_a_sentence(options, words):
    with pytest.raises(Refused, match=re.escape(words)):
        putty.wanted_settings(*options)


def test_the_registry_file():
    text = putty.registry(["Default Settings", "a", "a"], 90, None)
    key = "[HKEY_CURRENT_USER\\Software\\SimonTatham\\PuTTY\\Sessions\\"
    assert text.split("\r\n") == [
        "REGEDIT4", "",
        key + "Default%20Settings]", '"PingInterval"=dword:00000001', '"PingIntervalSecs"=dword:0000001e', "",
        key + "a]", '"PingInterval"=dword:00000001', '"PingIntervalSecs"=dword:0000001e', "", "",
    ]  # fmt: skip
    assert '"TCPKeepalives"=dword:00000001\r\n' in putty.registry(["a"], 0, True)


# --- in a home ----------------------------------------------------------------------------------------------------


def test_the_place_is_where_putty_looks(tmp_path):
    home = str(tmp_path)
    assert putty.find_directory(home) == home + "/.putty"
    (tmp_path / ".config/putty").mkdir(parents=True)
    (tmp_path / ".putty").mkdir()
    assert putty.find_directory(home) == home + "/.config/putty"


def test_absent_takes_the_keys_or_the_whole(tmp_path):
    def bring(present, **settings):
        return putty.bring(putty.Wish("s", present, settings), str(tmp_path), check=False)

    bring(True, A="1", B="2")
    assert bring(False, A="9")["after"] == "B=2\n"
    assert bring(False, B="2")["after"] is None
    assert not bring(False, B="2")["changed"]
    bring(True, A="1")
    assert bring(False)["changed"] and not bring(False)["changed"]


def test_a_home_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(Refused, match="is not there"):
        putty.bring(putty.Wish("s", True, {"A": "1"}), str(tmp_path / "none"), check=False)


# --- as somebody else ---------------------------------------------------------------------------------------------


def myself():
    return find_account(None)


def test_what_work_returns_refuses_and_fails_with():
    assert as_user(myself(), lambda: {"a": [1, None]}) == {"a": [1, None]}

    def refuse():
        raise Refused("no")

    for work, words in ((refuse, "no"), (lambda: os.listdir("/nowhere/at/all"), "/nowhere/at/all: No such file")):
        with pytest.raises(Refused, match=words):
            as_user(myself(), work)
    with pytest.raises(Refused, match="ended without an answer"):
        as_user(myself(), lambda: os._exit(1))
    with pytest.raises(Refused, match="did not answer within"):
        as_user(myself(), lambda: time.sleep(30), limit=0.2)


def test_there_must_be_such_an_account():
    with pytest.raises(Refused, match="there is no user 'nobody-here'"):
        find_account("nobody-here")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_user_for_good():
    nobody = pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid, (nobody.pw_gid,), "/nonexistent")

    def try_to_return():
        ids = [*os.getresuid(), *os.getresgid(), *os.getgroups()]
        try:
            os.setuid(0)
        except PermissionError:
            return ids
        return "root again"

    assert set(as_user(account, try_to_return)) == {nobody.pw_uid, nobody.pw_gid}
    assert os.geteuid() == 0
