# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a process really is."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import work
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.procfs import Proc


@pytest.fixture
def there(tmp_path):
    """A host with vim, busybox and python, and a way to run things on it."""
    binaries = tmp_path / "usr/bin"
    binaries.mkdir(parents=True)
    for name in ("vim.basic", "sleep", "busybox", "python3.11", "rsync"):
        (binaries / name).write_bytes(name.encode() * 1000)
    os.symlink("vim.basic", binaries / "vim")
    os.symlink("busybox", binaries / "wget")
    (binaries / "pip").write_text("#!/usr/bin/python3")
    proc = tmp_path / "proc"

    def run(exe, *arguments, comm="x", pid=5):
        shutil.rmtree(proc, ignore_errors=True)
        (proc / str(pid)).mkdir(parents=True)
        os.symlink(exe, proc / str(pid) / "exe")
        (proc / str(pid) / "cmdline").write_bytes(b"\0".join(a.encode() for a in arguments) + b"\0")
        found = work.Programs(str(tmp_path)).recognise(Proc(str(proc)), pid, comm)
        return found and found[:3]

    run.root, run.bin = tmp_path, binaries
    return run


def test_by_inode_whatever_it_is_called(there):
    assert there(there.bin / "vim.basic", "harmless", comm="harmless") == ("vim", "editors", "executable")
    os.link(there.bin / "vim.basic", there.root / "tool")
    assert there(there.root / "tool", "tool") == ("vim", "editors", "executable")


def test_a_copy_under_another_name(there):
    shutil.copy(there.bin / "vim.basic", there.root / "tool")
    assert there(there.root / "tool", "tool", comm="tool") == ("vim", "editors", "content")
    (there.root / "tool").write_bytes(b"x" * (there.bin / "vim.basic").stat().st_size)
    assert there(there.root / "tool", "tool", comm="tool") is None


def test_a_build_of_ones_own(there):
    (there.root / "nvim").write_text("mine")
    assert there(there.root / "nvim", "nvim") == ("nvim", "editors", "path")


def test_an_impostor_is_named_as_one(there):
    assert there(there.bin / "sleep", "vim", "9", comm="vim") == ("vim", "editors", "name")
    assert there(there.bin / "sleep", "/usr/bin/rsync") == ("rsync", "transfers", "name")


def test_scripts_and_many_in_one(there):
    python = there.bin / "python3.11"
    assert there(python, "python3", "-u", "/usr/bin/pip", "install") == ("pip", "package_managers", "script")
    assert there(python, "python3", "-m", "pip", "install") == ("pip", "package_managers", "script")
    assert there(python, "python3", "app.py") is None
    assert there(there.bin / "busybox", "wget", "http://x") == ("wget", "transfers", "executable")
    assert there(there.bin / "busybox", "sleep", "9") is None


def test_replaced_while_it_runs(there):
    assert there("/usr/bin/vim.basic (deleted)", "vim", comm="vim")[0] == "vim"


@pytest.mark.parametrize(
    ("swap", "file"),
    [
        ("/home/a/.notes.txt.swp", "/home/a/notes.txt"),
        ("/home/a/.x.swo", "/home/a/x"),
        ("/home/a/.local/state/nvim/swap/%home%a%ideas.txt.swp", "/home/a/ideas.txt"),
    ],
)
def test_the_file_of_a_swap(swap, file):
    assert work._of_swap(swap) == file


def emacs_at(tmp_path, *names):
    home = tmp_path / "home"
    home.mkdir()
    for name, target in names:
        if target:
            os.symlink(target, home / name)
        else:
            (home / name).write_text("x")
    folder = tmp_path / "proc/77"
    folder.mkdir(parents=True)
    os.symlink("/", folder / "root")
    os.symlink(home, folder / "cwd")
    (folder / "cmdline").write_bytes(b"emacs\0-nw\0plan.txt\0")
    return str(home), work.of_emacs(Proc(str(tmp_path / "proc")), 77)


def test_the_lock_and_the_autosave_of_an_emacs(tmp_path):
    lock = (".#plan.txt", "alice@host.77:1700000000")
    home, found = emacs_at(tmp_path, lock, ("#plan.txt#", None), ("plan.txt", None))
    assert found == ([f"{home}/plan.txt"], [f"{home}/.#plan.txt", f"{home}/#plan.txt#"])


def test_another_ones_lock_is_not_taken_for_ours(tmp_path):
    locks = [(".#a", "alice@host.177:1"), (".#b", "alice@host.7"), (".#c", None), ("#a#", None)]
    assert emacs_at(tmp_path, *locks)[1] == ([], [])


def test_a_folder_that_hangs_costs_no_more_than_its_time(tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(work, "_locked_by_emacs", lambda *_where: released.wait(30) and [])
    folder = tmp_path / "77"
    folder.mkdir()
    os.symlink("/", folder / "cwd")
    began = time.monotonic()
    assert work.of_emacs(Proc(str(tmp_path)), 77, patience=0.1) == ([], [])
    released.set()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("title", ["mongosh ", "mongosh mongodb://<credentials>@127.0.0.1:27017/shop"])
def test_a_mongosh_of_npm(there, title):
    # As version 2.12 on node shows itself: its script's path is gone from the command line.
    (there.bin / "node").write_text("node")
    assert there(there.bin / "node", title, comm=title[:15]) == ("mongosh", "database_clients", "name")


def test_an_emacs_that_compiles_for_another_is_no_work(tmp_path):
    folder = tmp_path / "77"
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"emacs\0-batch\0-l\0/tmp/async.el\0")
    known = work.Known("emacs", "editors", "executable", None)
    assert work.item(Proc(str(tmp_path)), 77, 1, None, known) is None
    (folder / "cmdline").write_bytes(b"emacs\0-nw\0")
    assert work.item(Proc(str(tmp_path)), 77, 1, None, known) is not None
