# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""policy_info on real hosts: what it says must be what the host does, and it must leave no trace."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shlex
import subprocess
import time

import pytest
from realhosts import booted, run

ENGINE = pathlib.Path(__file__).resolve().parents[3] / "plugins/module_utils/_engine"
MAIN = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"
SSHD = {"bullseye": [8, 4], "bookworm": [9, 2], "trixie": [10, 0], "bookworm-sysvinit": [9, 2]}
LOGIND = {"bullseye": 247, "bookworm": 252, "trixie": 257}
POLICY = {
    "layers": ["sshd", "shell", "logind"],
    "idle_timeout": 900,
    "client_alive_interval": 300,
    "client_alive_count_max": 3,
}


@pytest.fixture(autouse=True)
def etc_restored(request):
    name = "sysvinit" if "sysvinit" in request.fixturenames else "machine"
    yield from restored(request.getfixturevalue(name))


@pytest.fixture
def one_host(machine):
    if machine.image != "bookworm":
        pytest.skip("one release is enough")
    return machine


@pytest.fixture(scope="module")
def sysvinit():
    with booted("policy-info-sysvinit", "bookworm-sysvinit") as host:
        yield host


def inside(machine, command, check=True):
    """What a line of shell says that does not come in over ssh."""
    return machine.exec(command, check=check).stdout


def restored(machine):
    """The host with /etc put back afterwards, and its daemons told."""
    inside(machine, "tar -C /etc -cf /tmp/etc.tar ssh profile.d bash.bashrc zsh csh security pam.d passwd systemd")
    relist = "cd /etc && rm -rf ssh profile.d zsh csh security && tar -xf /tmp/etc.tar && rm -rf systemd/logind.conf.d"
    reload = "kill -HUP $(cat /run/sshd.pid); ! test -d /run/systemd/system || systemctl kill -s HUP systemd-logind"
    settle(machine, reload)
    yield machine
    inside(machine, f"{relist} && {reload}")


def settle(machine, reload="kill -HUP $(cat /run/sshd.pid)"):
    """Configuration changes lie behind us by more than a clock tick, then sshd reads them."""
    inside(machine, f"mkdir -p /etc/systemd/logind.conf.d; sleep 0.1; {reload}; sleep 0.3")


def write(machine, path, text):
    machine.write(path, text)


def engine(machine, *users):
    """The facts, by the engine alone and not over ssh: where there is no way in, or none that must not be used."""
    if machine.exec("test -d /tmp/engine", check=False).returncode:
        tar = run(["tar", "-C", ENGINE.parent, "--exclude=__pycache__", "-c", "_engine"], text=False).stdout
        machine.exec("mkdir /tmp/engine && tar -C /tmp/engine -x", input=tar, text=False)
    script = (
        "import json, sys; sys.path.insert(0, '/tmp/engine'); sys.dont_write_bytecode = True\n"
        "from _engine.observe.policy import observe_policy; from _engine.observe.tree import Tree\n"
        f"print(json.dumps(observe_policy(Tree(), {list(users)!r})))"
    )
    return json.loads(machine.exec("python3 -", input=script).stdout)


def only(facts, setting, **fields):
    assert "findings" in facts, facts
    found = [f for f in facts["findings"] if f["setting"] == setting and all(f[k] == v for k, v in fields.items())]
    assert len(found) == 1, found
    return found[0]


# --- an ordinary host -------------------------------------------------------------------------------------------


def test_virgin_host(machine):
    facts = machine.module("policy_info", users=["alice", "nosuchuser"])
    assert facts["changed"] is False
    assert facts.get("warnings", []) == []
    assert (facts["host"]["id"], facts["host"]["family"], facts["host"]["init"]) == ("debian", "debian", "systemd")
    assert facts["host"]["systemd_version"] == LOGIND[machine.image]
    assert facts["host"]["utmp"] is (machine.image != "trixie")
    sshd = facts["sshd"]
    assert sshd["version_number"] == SSHD[machine.image]
    assert sshd["version"].partition("p")[2], "the portable level is part of the version"
    assert (sshd["config_ok"], sshd["include"], sshd["drop_in_first"], sshd["unit"]) == (True, True, True, "ssh")
    assert (sshd["running"], sshd["current"], sshd["socket_activated"]) == (True, True, False)
    assert str(sshd["pid"]) == inside(machine, "cat /run/sshd.pid").strip()
    assert sshd["effective"]["clientaliveinterval"] == "0"
    assert facts["logind"]["can_stop_idle_session"] is (machine.image != "bullseye")
    assert facts["logind"]["sees_ssh_ttys"] is (machine.image != "trixie")
    assert facts["logind"]["current"] is True
    assert facts["limits"]["active"] is True
    assert facts["users"] == {"alice": {"existing": True}, "nosuchuser": {"existing": False}}
    assert list(sshd["effective_by_user"]) == ["alice"]
    for kind in ("bash", "ksh", "zsh", "dash", "mksh", "tcsh"):
        assert facts["shell"]["shells"][kind], kind
        assert facts["shell"]["login"][kind]["error"] is None
        assert not facts["shell"]["login"][kind]["tmout"]
    assert facts["shell"]["setters"] == []


def test_sees_ssh_ttys_is_true(machine):
    """What is derived from how systemd was built, against what logind shows of a live session."""
    client = subprocess.Popen(
        [*machine.ssh_argv("alice"), "-tt", "sleep 30"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    each = "loginctl list-sessions --no-legend | awk '$3 == \"alice\" {print $1}'"
    try:
        time.sleep(1.5)
        script = f"for s in $({each}); do loginctl show-session $s -p TTY -p Class; done"
        shown = inside(machine, script)
    finally:
        client.kill()
        client.wait()
    assert "Class=user" in shown
    assert ("TTY=pts/" in shown) is engine(machine)["logind"]["sees_ssh_ttys"]


def test_leaves_no_trace(machine):
    machine.module("policy_info", users=["alice"], wanted=POLICY)
    inside(machine, "touch /tmp/stamp; sleep 1.1")
    machine.module("policy_info", users=["alice"], wanted=POLICY)
    changed = inside(
        machine,
        "find /etc /home /root /usr /opt /srv /var /run/sshd -newer /tmp/stamp -not -path '/var/log/*'"
        " -not -path '/root/.ansible*' -not -path /root -not -path /var/lib/systemd/timers -not -path '*/journal/*'",
    )
    assert changed == ""
    assert inside(machine, "pgrep -u nobody", check=False) == ""


def test_without_root(machine):
    facts = machine.module("policy_info", variables={"ansible_user": "alice"}, users=["bob"], wanted=POLICY)
    assert not facts["failed"], facts
    assert facts["sshd"]["config_ok"] is None
    assert facts["sshd"]["effective"] == {}
    assert facts["shell"]["login"]["bash"]["error"] is None
    assert any("only root can ask it" in w for w in facts["warnings"])
    assert only(facts, "client_alive_interval")["compliant"] is None


# --- has the running sshd read its configuration? ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill -HUP $(cat /run/sshd.pid)", "systemctl reload ssh", "systemctl restart ssh"])
def test_reload_is_seen(machine, how):
    before = engine(machine)["sshd"]
    assert before["current"] is True
    write(machine, f"{DROP_INS}/10-x.conf", "MaxSessions 7\n")
    assert engine(machine)["sshd"]["current"] is False
    inside(machine, how)
    # At once: the reload may still be under way.
    after = engine(machine)["sshd"]
    assert after["current"] is True
    if "restart" not in how:
        assert (after["pid"], after["started_at"]) == (before["pid"], before["started_at"])
    inside(machine, f"rm {DROP_INS}/10-x.conf")
    gone = machine.module("policy_info", wanted=POLICY)
    assert gone["sshd"]["current"] is False
    assert only(gone, "reload")["remedy"] == "run: systemctl reload ssh.service"
    inside(machine, " ".join(gone["sshd"]["reload"][0]))
    assert engine(machine)["sshd"]["current"] is True


def test_failed_reload_is_no_reload(machine):
    """A HUP with a broken file ends sshd on some releases; `current` must not turn true by it."""
    write(machine, f"{DROP_INS}/10-x.conf", "Nonsense 7\n")
    inside(machine, "systemctl reload ssh", check=False)
    seen = engine(machine)["sshd"]
    assert (seen["config_ok"], seen["current"]) == (False, False)


@contextlib.contextmanager
def socket_instead_of_service(machine):
    inside(machine, "systemctl stop ssh.service; systemctl start ssh.socket")
    try:
        yield
    finally:
        inside(machine, "systemctl stop ssh.socket; systemctl stop ssh.service; systemctl start ssh.service; sleep 0.3")


def test_socket_activation(machine):
    with socket_instead_of_service(machine):
        idle = engine(machine, "alice")["sshd"]
        assert (idle["socket_activated"], idle["running"], idle["pid"]) == (True, True, None)
        assert (idle["current"], idle["reload"]) == (True, [])
        assert idle["config_ok"] is True, idle["config_error"]
        assert idle["effective_by_user"]["alice"]["clientaliveinterval"] == "0"
        inside(machine, shlex.join(idle["validate"][0]))
        assert machine.ssh("echo in").strip() == "in"
        per_connection = machine.image == "bullseye"  # its socket is Accept=yes
        seen = engine(machine)["sshd"]
        assert (seen["pid"] is None) is per_connection
        assert seen["current"] is True
        write(machine, f"{DROP_INS}/10-x.conf", "MaxSessions 7\n")
        changed = engine(machine)["sshd"]
        assert changed["current"] is per_connection
        assert changed["reload"] == ([] if per_connection else [["systemctl", "stop", "ssh.service"]])
        for argv in changed["reload"]:
            inside(machine, shlex.join(argv))
        assert engine(machine)["sshd"]["current"] is True
        assert machine.ssh("echo still in").strip() == "still in"


# --- hostile sshd configurations --------------------------------------------------------------------------------


def test_cloud_init_wins(machine):
    write(machine, f"{DROP_INS}/50-cloud-init.conf", "ClientAliveInterval 0\n")
    write(machine, f"{DROP_INS}/60-session-policy.conf", "ClientAliveInterval 300\nClientAliveCountMax 3\n")
    settle(machine)
    facts = machine.module("policy_info", wanted=POLICY)
    found = only(facts, "client_alive_interval")
    assert (found["compliant"], found["in_force"]) == (False, 0)
    assert found["overridden_by"] == f"{DROP_INS}/50-cloud-init.conf:1 0"
    assert f"comes before {DROP_INS}/60-session-policy.conf:1" in found["why"]
    assert only(facts, "client_alive_count_max")["source"] == f"{DROP_INS}/60-session-policy.conf:2"


LEGAL = """clientALIVEinterval=41
ClientAliveCountMax = "4"
LoginGraceTime\t"1m30s"
MaxSessions "9"
MaxStartups=10
TCPKeepAlive "no"
ClientAliveInterval 42
"""


def test_every_legal_spelling_reads_as_sshd_reads_it(machine):
    write(machine, f"{DROP_INS}/10-x.conf", LEGAL)
    sshd = engine(machine)["sshd"]
    assert sshd["config_ok"] is True, sshd["config_error"]
    assert {k: v["value"] for k, v in sshd["sources"].items()} == {k: sshd["effective"][k] for k in sshd["sources"]}
    assert len(sshd["sources"]) == 6
    assert sshd["sources"]["clientaliveinterval"]["overridden"][0]["value"] == "42"
    assert engine(machine)["warnings"] == []


def test_main_file_that_ends_in_a_match_block(machine):
    inside(machine, f"printf 'Match User carol\\n  MaxSessions 2\\n  ClientAliveInterval 7\\n' >> {MAIN}")
    inside(machine, f"printf 'ClientAliveInterval 300\\n' >> {MAIN}")
    facts = engine(machine, "alice", "carol")
    assert facts["sshd"]["effective"]["clientaliveinterval"] == "0"
    assert "clientaliveinterval" not in facts["sshd"]["sources"]
    by_user = facts["sshd"]["effective_by_user"]
    assert (by_user["alice"]["clientaliveinterval"], by_user["carol"]["clientaliveinterval"]) == ("0", "7")
    assert [m["value"] for m in facts["sshd"]["matches"] if m["keyword"] == "clientaliveinterval"] == ["7", "300"]


def test_match_in_one_drop_in_does_not_leak(machine):
    write(machine, f"{DROP_INS}/10-a.conf", "Match User carol\nMaxSessions 2\n")
    write(machine, f"{DROP_INS}/20-b.conf", "MaxSessions 5\n")
    sshd = engine(machine)["sshd"]
    assert sshd["effective"]["maxsessions"] == sshd["sources"]["maxsessions"]["value"] == "5"


def test_match_by_address_and_port_can_be_asked(machine):
    inside(
        machine,
        f"printf 'Match Address 10.0.0.0/8 Host x LocalPort 22 LocalAddress 10.1.1.1\\nMaxSessions 2\\n' >> {MAIN}",
    )
    facts = engine(machine, "alice")
    assert facts["warnings"] == []
    assert facts["sshd"]["config_ok"] is True, facts["sshd"]["config_error"]
    assert facts["sshd"]["effective"]["maxsessions"] == "10"
    assert facts["sshd"]["effective_by_user"]["alice"]["maxsessions"] == "10"


def test_channel_timeout_traps(machine):
    if machine.image == "bullseye":
        pytest.skip("no ChannelTimeout before 9.2")
    write(machine, f"{DROP_INS}/10-a.conf", "ChannelTimeout session=900\n")
    inside(machine, f"printf 'Match User carol\\nChannelTimeout session:*=5\\n' >> {MAIN}")
    settle(machine)
    wanted = {"layers": ["sshd"], "channel_idle_timeout": 900}
    found = [f for f in machine.module("policy_info", wanted=wanted)["findings"] if f["compliant"] is False]
    assert "does not name session:*" in found[0]["why"]
    assert "does nothing" in found[1]["why"]
    assert found[1]["source"].startswith(MAIN + ":")


def test_no_include_and_no_folder(machine):
    inside(machine, f"sed -i '/^Include/d' {MAIN}; rm -rf {DROP_INS}")
    sshd = engine(machine)["sshd"]
    assert (sshd["include"], sshd["drop_in_first"], sshd["drop_in_dir_exists"]) == (False, False, False)
    assert sshd["config_ok"] is True
    inside(machine, f"sed -i '1i Include {DROP_INS}/*.conf' {MAIN}")
    sshd = engine(machine)["sshd"]
    assert (sshd["include"], sshd["drop_in_dir_exists"], sshd["config_ok"]) == (True, False, True)


def test_broken_config(machine):
    inside(machine, f"printf 'ClientAliveIntervall 300\\n' >> {MAIN}")
    facts = machine.module("policy_info", wanted=POLICY)
    assert facts["sshd"]["config_ok"] is False
    assert "Bad configuration option: ClientAliveIntervall" in facts["sshd"]["config_error"]
    found = only(facts, "client_alive_interval")
    assert found["compliant"] is False
    assert "Bad configuration option" in found["why"]


def test_no_sshd(one_host):
    inside(one_host, "mv /usr/sbin/sshd /usr/sbin/sshd.away")
    try:
        facts = engine(one_host)
    finally:
        inside(one_host, "mv /usr/sbin/sshd.away /usr/sbin/sshd")
    assert facts["sshd"]["installed"] is False
    assert facts["shell"]["login"]["bash"]["error"] is None


def test_daemon_with_options(one_host):
    """What -o sets is in no file; the daemon's own command line is asked along."""
    write(one_host, "/etc/default/ssh", "SSHD_OPTS=-oClientAliveInterval=77\n")
    try:
        inside(one_host, "systemctl restart ssh; sleep 0.3")
        sshd = engine(one_host)["sshd"]
    finally:
        inside(one_host, "rm /etc/default/ssh; systemctl restart ssh")
    assert sshd["effective"]["clientaliveinterval"] == "77"
    assert sshd["sources"]["clientaliveinterval"]["source"] == "command line"


# --- shells -----------------------------------------------------------------------------------------------------

SNIPPET = "TMOUT=900\nreadonly TMOUT\nexport TMOUT\n"


@pytest.mark.parametrize("kind", ["bash", "ksh", "zsh", "mksh", "dash", "tcsh"])
def test_tmout_is_what_a_real_login_has(machine, kind):
    """alice with this login shell, over ssh with a terminal, typing."""
    write(machine, "/etc/profile.d/50-x.sh", SNIPPET)
    write(machine, "/etc/csh/login.d/x", "set autologout=15\n")
    if kind == "zsh":
        write(machine, "/etc/zsh/zshrc", "TMOUT=900\nexport TMOUT\n")
    facts = engine(machine)
    path = facts["shell"]["shells"][kind]
    inside(machine, f"sed -i 's|^\\(alice:.*\\):[^:]*$|\\1:{path}|' /etc/passwd")
    inside(machine, "touch /home/alice/.zshrc")  # no newcomer's questions
    typed = {"tcsh": 'echo "<<"$autologout">>"; exit\n'}.get(kind, 'echo "<<"$TMOUT">>"; exit\n')
    argv = [*machine.ssh_argv("alice"), "-tt"]
    said = subprocess.run(argv, input=typed, text=True, capture_output=True, timeout=30, check=False).stdout
    seen = facts["shell"]["login"][kind]
    expected = seen["autologout_minutes"] if kind == "tcsh" else seen["tmout"]
    assert expected in (15, 900), seen
    assert f"<<{expected}>>" in said
    if kind != "tcsh":
        assert seen["readonly"] is (kind != "zsh")
        assert seen["exported"] is True


def test_earlier_readonly_tmout(machine):
    write(machine, "/etc/profile.d/00-aaa.sh", "# site\nreadonly TMOUT=0\n")
    write(machine, "/etc/profile.d/00-session-policy.sh", SNIPPET)
    facts = machine.module("policy_info", wanted={"layers": ["shell"], "idle_timeout": 900})
    found = only(facts, "idle_timeout", shell="bash")
    assert (found["compliant"], found["in_force"]) == (False, 0)
    assert found["overridden_by"] == "/etc/profile.d/00-aaa.sh:2 readonly TMOUT=0"
    assert only(facts, "idle_timeout", shell="bash (not login)")["compliant"] is False


def test_non_login_bash(machine):
    inside(machine, "sed -i '1i TMOUT=600; readonly TMOUT' /etc/bash.bashrc")
    facts = engine(machine, "bob")
    assert facts["shell"]["non_login"]["bash"]["tmout"] == 600
    assert facts["shell"]["setters"] == [
        {"source": "/etc/bash.bashrc:1", "text": "TMOUT=600; readonly TMOUT", "value": "600", "ours": False}
    ]
    assert facts["shell"]["login_by_user"]["bob"]["tmout"] == 600


def test_profile_that_hangs_or_floods(machine):
    """It costs its time limit, no more, and is said; nothing of it stays behind."""
    write(machine, "/etc/profile.d/50-x.sh", "sleep 1000 & wait\n")
    facts = engine(machine)
    assert "not answer in time" in facts["shell"]["login"]["bash"]["error"]
    assert facts["sshd"]["config_ok"] is True
    assert inside(machine, "pgrep -u nobody", check=False) == ""
    write(machine, "/etc/profile.d/50-x.sh", "yes\n")
    assert engine(machine)["shell"]["login"]["bash"]["tmout"] is None


def test_profile_runs_without_privileges(machine):
    write(machine, "/etc/profile.d/50-x.sh", "id -u > /tmp/who.$$ 2>/dev/null\n")
    inside(machine, "rm -f /tmp/who.*")
    engine(machine)
    assert set(inside(machine, "cat /tmp/who.*; rm -f /tmp/who.*").split()) == {"65534"}


# --- logind and limits ------------------------------------------------------------------------------------------


def test_logind_reload(machine):
    """The argv that is returned makes logind read its drop-in, and no session suffers."""
    client = subprocess.Popen(
        [*machine.ssh_argv("bob"), "-tt", "sleep 60"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    drop_in = "/etc/systemd/logind.conf.d/99-session-policy.conf"
    try:
        write(machine, drop_in, "[Login]\nStopIdleSessionSec=1800\nIdleActionSec=20min\nKillUserProcesses=yes\n")
        before = engine(machine)["logind"]
        assert (before["current"], before["effective"]["KillUserProcesses"]) == (False, False)
        assert before["on_disk"]["IdleActionUSec"]["source"] == f"{drop_in}:3"
        inside(machine, shlex.join(before["reload"][0]))
        time.sleep(0.5)
        after = engine(machine)["logind"]
        assert after["current"] is True
        assert (after["effective"]["IdleActionUSec"], after["effective"]["KillUserProcesses"]) == (1200, True)
        assert after["effective"].get("StopIdleSessionUSec") == (None if machine.image == "bullseye" else 1800)
        inside(machine, f"rm {drop_in}")
        gone = engine(machine)["logind"]
        assert gone["current"] is False
        inside(machine, shlex.join(gone["reload"][0]))
        time.sleep(0.5)
        assert engine(machine)["logind"]["current"] is True
        assert client.poll() is None
    finally:
        client.kill()
        client.wait()


def test_looking_does_not_start_logind(one_host):
    inside(one_host, "systemctl stop systemd-logind")
    try:
        facts = engine(one_host)
        state = inside(one_host, "systemctl is-active systemd-logind", check=False).strip()
    finally:
        inside(one_host, "systemctl start systemd-logind")
    assert facts["logind"]["running"] is False
    assert state == "inactive"


def test_max_logins_is_what_pam_applies(machine):
    """alice may have two logins at once: the third is refused, and that value is the one returned."""
    write(machine, "/etc/security/limits.d/10-x.conf", "* hard maxlogins 9\n")
    write(machine, "/etc/security/limits.d/99-session-policy.conf", "* hard maxlogins 2\n")
    found = engine(machine)["limits"]["maxlogins"]
    assert (found["value"], found["ours"]) == (2, True)
    assert found["overridden"][0]["source"] == "/etc/security/limits.d/10-x.conf:1"


# --- without systemd --------------------------------------------------------------------------------------------


def test_sysvinit(sysvinit):
    facts = engine(sysvinit)
    assert facts["host"]["init"] == "sysvinit"
    assert facts["host"]["systemd_version"] is None
    assert facts["logind"]["running"] is False
    assert facts["sshd"]["current"] is True
    assert facts["sshd"]["reload"] == [["service", "ssh", "reload"]]
    write(sysvinit, f"{DROP_INS}/10-x.conf", "MaxSessions 7\n")
    assert engine(sysvinit)["sshd"]["current"] is False
    inside(sysvinit, "service ssh reload")
    assert engine(sysvinit)["sshd"]["current"] is True
