# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TMOUT as shells see it. The shells here are this machine's own, on snippets given as their start-up file."""

from __future__ import annotations

import os
import shutil

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import shell
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import (
    Answer,
    Command,
    run_together,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(0, "\n@policy_info@900@ro@exported@end\n"), (900, True, True, None)),
        (Answer(0, "motd\n@policy_info@900@rw@@end\n"), (900, False, False, None)),
        (Answer(0, "\n@policy_info@@rw@@end\n"), (None, False, False, None)),
        (Answer(0, "\n@policy_info@15m@rw@@end\n"),
         (None, False, False, "TMOUT is '15m', which is no number of seconds")),
        (Answer(1, "", "noise\nbash: /etc/profile: syntax error\n"),
         (None, None, None, "bash: /etc/profile: syntax error")),
        (Answer(None, "", "", "it did not answer in time and was stopped"),
         (None, None, None, "it did not answer in time and was stopped")),
        (Answer(2), (None, None, None, "it ended with code 2")),
    ],
)  # fmt: skip
def test_parse_answer(answer, expected):
    seen = shell.parse_answer(answer)
    assert (seen["tmout"], seen["readonly"], seen["exported"], seen["error"]) == expected


@pytest.mark.parametrize(("text", "minutes"), [("15", 15), ("15 5", 15), ("", None), ("soon", None), ("0", 0)])
def test_parse_csh_answer(text, minutes):
    seen = shell.parse_csh_answer(Answer(0, f"@policy_info@{text}@end\n"))
    assert seen["autologout_minutes"] == minutes
    assert seen["tmout"] == (None if minutes is None else minutes * 60)
    assert seen["error"] is None


@given(st.text(max_size=100), st.text(max_size=50))
def test_answers_never_raise(out, err):
    for parse in (shell.parse_answer, shell.parse_csh_answer):
        seen = parse(Answer(0, out, err))
        assert seen["tmout"] is None or seen["tmout"] >= 0


# The question itself, put to real shells: a non-login one reads $ENV or nothing, so the set-up comes before it.
@pytest.mark.parametrize("name", ["bash", "dash", "ksh", "mksh", "zsh", "busybox"])
@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("TMOUT=900; readonly TMOUT; export TMOUT", (900, True, True)),
        ("TMOUT=900; export TMOUT", (900, False, True)),
        ("TMOUT=900", (900, False, False)),
        ("unset TMOUT", (None, False, False)),
    ],
)
def test_the_question(name, setup, expected):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"no {name} on this machine")
    argv = (path, "sh", "-c") if name == "busybox" else (path, "-c")
    answer = run_together({"a": Command((*argv, setup + "\n" + shell._SH), env={"PATH": "/usr/bin:/bin"})})["a"]
    seen = shell.parse_answer(answer)
    assert (seen["tmout"], seen["readonly"], seen["exported"], seen["error"]) == (*expected, None), answer


def test_root_asks_as_nobody_and_never_with_personal_files():
    asked = shell.questions(
        {"bash": "/bin/bash", "tcsh": "/bin/tcsh"}, True, "/etc/skel", {"alice": (1000, 1000, (1000,))}
    )
    assert {k: c.ids for k, c in asked.items()} == {
        "shell.login.bash": (65534, 65534, ()),
        "shell.non_login.bash": (65534, 65534, ()),
        "shell.login.tcsh": (65534, 65534, ()),
        "shell.user.alice": (1000, 1000, (1000,)),
    }
    assert {c.env["HOME"] for c in asked.values()} == {"/etc/skel"}
    assert asked["shell.login.bash"].argv[0] == "-bash"


def test_without_root_nobody_else_is_asked():
    asked = shell.questions({"bash": "/bin/bash"}, False, "/etc/skel", {"alice": (1000, 1000, ())})
    assert sorted(asked) == ["shell.login.bash", "shell.non_login.bash"]
    assert {c.ids for c in asked.values()} == {None}


@pytest.mark.parametrize(
    ("path", "line", "value"),
    [
        ("etc/profile", "TMOUT=600", "600"),
        ("etc/profile", "  export TMOUT=600; readonly TMOUT", "600"),
        ("etc/profile.d/a.sh", "typeset -xr TMOUT=900", "900"),
        ("etc/profile.d/a.sh", "readonly TMOUT", None),
        ("etc/profile.d/a.sh", "unset TMOUT", None),
        ("etc/bash.bashrc", 'declare -xr TMOUT="900"', "900"),
        ("etc/environment", "TMOUT=5", "5"),
        ("etc/csh.cshrc", "set autologout=15", "15"),
        ("etc/csh/login.d/x", "set autologout = ( 15 5 )", "15 5"),
        ("etc/zsh/zshrc", "TMOUT=$LIMIT", "$LIMIT"),
    ],
)
def test_setters(tmp_path, path, line, value):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("# TMOUT=1 is only a comment\nif true; then\n" + line + "\nfi\n")
    found = shell.find_setters(Tree(str(tmp_path)))
    assert [(s["source"], s["value"], s["ours"]) for s in found] == [(f"/{path}:3", value, False)]


def test_our_setters_are_ours(tmp_path):
    (tmp_path / "etc/profile.d").mkdir(parents=True)
    (tmp_path / "etc/profile.d/00-session-policy.sh").write_text("TMOUT=900\n")
    (tmp_path / "etc/bash.bashrc").write_text(
        "TMOUT=1\n# BEGIN sessionops.policy shell\nTMOUT=900\n# END sessionops.policy shell\nTMOUT=2\n"
    )
    found = shell.find_setters(Tree(str(tmp_path)))
    assert [(s["source"], s["ours"]) for s in found] == [
        ("/etc/profile.d/00-session-policy.sh:1", True),
        ("/etc/bash.bashrc:1", False),
        ("/etc/bash.bashrc:3", True),
        ("/etc/bash.bashrc:5", False),
    ]


@given(st.binary(max_size=300))
def test_setters_never_raise(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("etc")
    (root / "etc").mkdir()
    (root / "etc/profile").write_bytes(b"TMOUT" + data)
    shell.find_setters(Tree(str(root)))


def test_a_link_counts_as_the_shell_it_leads_to(tmp_path):
    folder = tmp_path / "usr/bin"
    folder.mkdir(parents=True)
    for name in ("tcsh", "mksh"):
        (folder / name).write_text("")
        (folder / name).chmod(0o755)
    os.symlink("tcsh", folder / "csh")
    os.symlink("mksh", folder / "ksh")
    found = shell.find_shells(Tree(str(tmp_path)))
    assert found["tcsh"] == "/usr/bin/tcsh"
    assert (found["csh"], found["ksh"]) == (None, None)


def test_whose_login_shell(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/bash\nmail:x:8:8::/:/bin/bash\nfay:x:1001:1001::/:/usr/bin/fish\nbroken\nx:x:y:1::/:\n"
    )
    people = shell.login_shells(Tree(str(tmp_path)), {"bash": "/bin/bash", "fish": "/usr/bin/fish"})
    assert people == {"bash": ["root"], "fish": ["fay"]}
