# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands side by side: time limits, floods and failures."""

from __future__ import annotations

import os
import pathlib
import time

from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import (
    MOST_OUTPUT,
    Command,
    run_together,
)


def sh(script):
    return Command(("/bin/sh", "-c", script))


def test_everything_at_once():
    answers = run_together({"a": sh("echo out; echo err >&2; exit 3"), "b": sh("read x; echo end of input")})
    assert (answers["a"].rc, answers["a"].out, answers["a"].err) == (3, "out\n", "err\n")
    assert answers["b"].out == "end of input\n"


def test_missing_program_is_an_answer():
    answer = run_together({"a": Command(("/nonexistent/prog",))})["a"]
    assert answer.rc is None
    assert "/nonexistent/prog could not be run" in answer.error


def test_late_one_is_stopped_with_its_children_and_the_rest_is_kept():
    began = time.monotonic()
    answers = run_together({"slow": sh("echo begun; sleep 60 & wait"), "quick": sh("echo done")}, limit=0.5)
    assert time.monotonic() - began < 30
    assert answers["quick"].out == "done\n"
    assert answers["slow"].rc is None
    assert answers["slow"].out == "begun\n"
    assert "in time" in answers["slow"].error


def test_what_stays_in_the_background_is_ended_and_not_waited_for(tmp_path):
    """It holds the pipe, and job control (set -m) gives it a process group of its own."""
    script = f"set -m; sleep 600 & echo $! > {tmp_path}/pid; echo done"
    began = time.monotonic()
    answer = run_together({"a": sh(script)}, limit=60)["a"]
    assert time.monotonic() - began < 30
    assert (answer.rc, answer.out) == (0, "done\n")
    pid = int((tmp_path / "pid").read_text())
    for _attempt in range(500):
        if not os.path.exists(f"/proc/{pid}") or ") Z " in pathlib.Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.01)
    raise AssertionError("it lives on")


def test_flood_is_cut():
    answer = run_together({"a": sh("exec yes")}, limit=5)["a"]
    assert len(answer.out) <= MOST_OUTPUT + 65536


def test_undecodable_output():
    assert run_together({"a": sh("printf 'a\\377b'")})["a"].out == "a\ufffdb"


def test_own_session_without_terminal():
    assert run_together({"a": sh("exec 3</dev/tty")})["a"].rc not in (0, None)


def test_clean_environment(monkeypatch):
    monkeypatch.setenv("TMOUT", "5")
    assert run_together({"a": sh("echo [$TMOUT]")})["a"].out == "[]\n"
