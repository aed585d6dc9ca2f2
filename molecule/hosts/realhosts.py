# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts, and people at terminals: what the scenarios' tests are made of."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
TESTHOST = CHECKOUT / "tests/hosts/testhost"
#: What drivers on a host kill themselves with.
MORTAL = CHECKOUT / "molecule/hosts/mortal.py"
GROUP = os.environ.get("MOLECULE_SCENARIO_NAME", "tests")
RELEASES = {"deb11": "bullseye", "deb12": "bookworm", "deb13": "trixie"}
OPENSSH = {"bullseye": (8, 4), "bookworm": (9, 2), "trixie": (10, 0)}

Done = subprocess.CompletedProcess


def run(argv: t.Sequence[object], **kw: t.Any) -> Done:
    """Never with this terminal's stdin, which ssh would eat."""
    source = {} if "input" in kw else {"stdin": subprocess.DEVNULL}
    check, text = kw.pop("check", False), kw.pop("text", True)
    return subprocess.run([str(word) for word in argv], check=check, text=text, capture_output=True, **source, **kw)


def until(condition: t.Callable[[], t.Any], limit: float, every: float = 0.2) -> t.Any:
    """The first true answer of `condition` within `limit` seconds, else its last answer."""
    end = time.monotonic() + limit
    while True:
        answer = condition()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(every)


@dataclasses.dataclass(frozen=True)
class Machine:
    name: str
    image: str
    variables: dict

    @property
    def release(self) -> str:
        return self.image.partition("-")[0]

    @property
    def openssh(self) -> tuple[int, int]:
        return OPENSSH[self.release]

    # --- ways in

    def ssh_argv(self, user: str = "root", *options: str) -> list[str]:
        common = shlex.split(self.variables["ansible_ssh_common_args"])
        key, port = self.variables["ansible_ssh_private_key_file"], str(self.variables["ansible_port"])
        return ["ssh", "-i", key, "-p", port, *common, *options, f"{user}@127.0.0.1"]

    def ssh(self, command: str, user: str = "root", check: bool = True, stdin: str | None = None) -> str:
        """What `command` says on stdout, run by the user's login shell over a connection of its own."""
        source = {} if stdin is None else {"input": stdin}
        done = run([*self.ssh_argv(user, "-o", "ConnectTimeout=10"), command], timeout=120, **source)
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def inside_argv(self) -> list[str]:
        """What runs a command inside the host at a terminal of its own, not over ssh."""
        enter = shlex.split(self.variables["testhost_enter"])
        return [*enter, "podman", "exec", "-it", self.variables["testhost_container"]]

    def exec(self, command: str, check: bool = True, **kw: t.Any) -> Done:
        """`command` as root inside the host, where sshd may not be the way in."""
        enter = [*shlex.split(self.variables["testhost_enter"]), "podman", "exec", "-i"]
        done = run([*enter, self.variables["testhost_container"], "sh", "-c", command], **kw)
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        quoted = shlex.quote(path)
        self.exec(f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode} {quoted}", input=text)

    def put_engine(self, driver: pathlib.Path) -> None:
        """The engine and a program that drives it, as /root/driver/engine and /root/driver/driver.py, and what that may
        import."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(
                CHECKOUT / "plugins/module_utils/_engine",
                "engine",
                filter=lambda member: member if "__pycache__" not in member.name else None,
            )
            tar.add(driver, "driver.py")
            tar.add(MORTAL, MORTAL.name)
        self.exec("mkdir -p /root/driver && tar -xC /root/driver", input=packed.getvalue(), text=False)

    # --- Ansible

    def module(self, which: str, /, **args: t.Any) -> dict:
        """What the module returned, whether it failed or not; see `start`."""
        return self.start(which, **args)()

    def start(
        self,
        which: str,
        /,
        *,
        check: bool = False,
        diff: bool = False,
        variables: dict | None = None,
        options: t.Sequence[str] = (),
        **args: t.Any,
    ) -> t.Callable[[], dict]:
        """Begin to run the module; the function returned waits for its end and gives what it returned.

        `which` without dots is one of this collection; `check` is check mode; `variables` are the host's, such as the
        user to connect as; `options` are further words for ansible.
        """
        folder = tempfile.TemporaryDirectory(prefix="result-")
        result, inventory = pathlib.Path(folder.name, "result.json"), pathlib.Path(folder.name, "hosts.json")
        inventory.write_text(inventory_of([self], variables))
        argv = ["ansible", "-i", inventory, self.name, "-m", which if "." in which else f"sessionops.policy.{which}"]
        # An empty dictionary is no arguments to ansible-core 2.16.
        argv += [*(["-a", json.dumps(args)] if args else []), *["--check"] * check, *["--diff"] * diff, *options]
        callback = {
            "ANSIBLE_CALLBACK_PLUGINS": str(CHECKOUT / "molecule/hosts/callback"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
            "ANSIBLE_STDOUT_CALLBACK": "result_file",
            "RESULT_FILE": str(result),
        }
        process = subprocess.Popen(
            [str(word) for word in argv],
            env={**environment(), **callback},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def finish() -> dict:
            with folder:
                said = process.communicate()[0]
                assert result.exists(), said
                return json.loads(result.read_text())

        return finish

    def role(self, name: str, *argv: str, **kw: t.Any) -> Done:
        return role([self], name, *argv, **kw)

    def harden(self, *argv: str, **kw: t.Any) -> Done:
        return harden([self], *argv, **kw)

    # --- what is on the host

    def tree(self, *roots: str) -> str:
        """Every file below the roots: bytes, mode, owner, link target; two trees are alike if the texts are."""
        listing = "find {0} -printf '%p %y %m %U:%G %l\\n' | sort; find {0} -type f -exec sha256sum {{}} + | sort"
        return self.exec(listing.format(" ".join(roots or ("/etc",)))).stdout

    def sshd_effective(self, user: str | None = None) -> dict[str, str]:
        at = f" -C user={user},host=localhost,addr=127.0.0.1" if user else ""
        pairs = [line.partition(" ") for line in self.exec("/usr/sbin/sshd -T" + at).stdout.splitlines()]
        return {keyword: value for keyword, _blank, value in pairs}

    def at_a_login(self, user: str, command: str) -> Done:
        """`command` in an interactive login bash of the user's, by way of a real login with a terminal."""
        return run([*self.ssh_argv(user, "-tt"), f"exec bash -lic {shlex.quote(command)}"], timeout=30)

    def tmout(self, user: str = "alice") -> str:
        return self.at_a_login(user, "echo $TMOUT").stdout.strip()

    def connections(self, user: str) -> dict[int, str]:
        """sshd's processes for the user's connections: pid and title."""
        found = re.findall(rf"^ *(\d+) (sshd(?:-session)?: {user}\b.*)$", self.exec("ps -eo pid=,args=").stdout, re.M)
        return {int(pid): title for pid, title in found}


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections"),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_FORCE_COLOR": "false",
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def inventory_of(machines: t.Sequence[Machine], variables: dict | None = None) -> str:
    return json.dumps({"all": {"hosts": {m.name: {**m.variables, **(variables or {})} for m in machines}}})


def playbook(
    machines: t.Sequence[Machine],
    play: str | pathlib.Path | list,
    *argv: str,
    check: bool = True,
    connection: dict | None = None,
    **extra: t.Any,
) -> Done:
    """ansible-playbook of a file, or of plays as data, against these machines; `extra` are extra variables."""
    with tempfile.TemporaryDirectory() as folder:
        path = play
        if isinstance(play, list):
            path = pathlib.Path(folder, "play.yml")
            path.write_text(json.dumps(play))
        inventory = pathlib.Path(folder, "hosts.json")
        inventory.write_text(inventory_of(machines, connection))
        words = ["ansible-playbook", "-i", inventory, path, "-e", json.dumps(extra), *argv]
        done = run(words, env=environment(), timeout=300)
        done.stdout += done.stderr  # failures are on either, by the controller's settings
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def role(machines: t.Sequence[Machine], name: str, *argv: str, check: bool = True, **variables: t.Any) -> Done:
    include = {"name": f"sessionops.policy.{name}"}
    task = {"name": name, "ansible.builtin.include_role": include, "vars": variables}
    play = {"name": name, "hosts": "all", "gather_facts": False, "tasks": [task]}
    return playbook(machines, [play], *argv, check=check)


@dataclasses.dataclass(frozen=True)
class Applied:
    """What a role did: all it printed, and how many tasks changed something, host by host."""

    output: str
    changed: list[int]


def applied(machines: t.Sequence[Machine], name: str, **variables: t.Any) -> Applied:
    """A role with its own variables, which are given without its name in front."""
    said = role(machines, name, **{f"{name}_{key}": value for key, value in variables.items()}).stdout
    return Applied(said, [int(count) for count in re.findall(r" changed=(\d+)", said)])


def inside(host: Machine, script: str) -> str:
    """What a script says that runs inside the host, past ssh and PAM."""
    return host.exec(script).stdout


def over_ssh(host: Machine, user: str, command: str, *options: str) -> Done:
    """A command over ssh, without a terminal unless `options` ask for one."""
    return run([*host.ssh_argv(user, *options), command], timeout=60)


def harden(machines: t.Sequence[Machine], *argv: str, **kw: t.Any) -> Done:
    return playbook(machines, CHECKOUT / "playbooks/harden.yml", *argv, **kw)


class Person:
    """Somebody at a terminal: a real client in a tmux server of its own, on this machine.

    `client` are the words of the command; by default ssh to `machine` as `user`.
    """

    def __init__(self, machine: Machine, user: str, *command: str, client: t.Sequence[str] = ()):
        self._folder = tempfile.TemporaryDirectory(prefix="person-")
        self._end = pathlib.Path(self._folder.name, "end")
        self._socket = str(pathlib.Path(self._folder.name, "tmux"))
        words = list(client) or [*machine.ssh_argv(user, "-tt", "-o", "EscapeChar=none"), *command]
        # tmux wakes a child of its own that was stopped, so a shell stands between it and the client.
        self._tmux("new-session", "-d", "-x", "120", "-y", "40", f"{shlex.join(words)}; date +%s.%N > {self._end}")
        self._tmux("set-option", "-g", "remain-on-exit", "on")
        self._shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        self.opened = self.started = time.time()

    def _tmux(self, *argv: str) -> str:
        done = run(["tmux", "-S", self._socket, "-f", "/dev/null", *argv])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, text: str, enter: bool = True) -> None:
        self._tmux("send-keys", "-l", text)
        if enter:
            self._tmux("send-keys", "Enter")

    def key(self, *names: str) -> None:
        self._tmux("send-keys", *names)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p").rstrip()

    def reads(self, pattern: str, limit: float = 20) -> re.Match:
        """The match on the screen, waited for."""
        found = until(lambda: re.search(pattern, self.screen(), re.M), limit)
        assert found, f"{pattern!r} did not show up on:\n{self.screen()}"
        return found

    def at_prompt(self, limit: float = 20) -> Person:
        """Waits for a prompt, from which on `ended_after` counts."""
        self.reads(r"[$%#>]\s*\Z", limit)
        self.started = time.time()
        return self

    @property
    def ended_after(self) -> float | None:
        """Seconds from the prompt to the end of the client; None while it runs (a frozen one does)."""
        text = self._end.read_text() if self._end.exists() else ""
        return float(text) - self.started if text.endswith("\n") else None

    @property
    def lived(self) -> float | None:
        """Seconds from the start of the client to its end; None while it runs."""
        return None if self.connected else self.ended_after + self.started - self.opened

    @property
    def connected(self) -> bool:
        return self.ended_after is None

    def leaves_within(self, limit: float) -> float | None:
        """Seconds from the prompt to the end of the client, which is waited for, or None."""
        return until(lambda: self.ended_after, limit)

    @property
    def pid(self) -> int:
        """The client's."""
        children = pathlib.Path(f"/proc/{self._shell}/task/{self._shell}/children")
        return int(until(lambda: children.read_text().split(), 5)[0])

    def freeze(self) -> None:
        """The client program stops answering, as in a laptop that was closed."""
        os.kill(self.pid, signal.SIGSTOP)

    def leaves(self) -> None:
        """Hangs up, frozen or not; may be called again."""
        if not os.path.exists(self._socket):
            return
        if self.connected:
            os.kill(self.pid, signal.SIGCONT)
        run(["tmux", "-S", self._socket, "kill-server"])
        self._folder.cleanup()

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.leaves()


def cut_off(machine: Machine, user: str) -> None:
    """A session on a Debian 13 that sshd has just ended because its client did not answer."""
    # sshd takes the first value, and the policy's may stand at the top already.
    first = "ClientAliveInterval 1\\nClientAliveCountMax 1"
    machine.exec(f"sed -i '1i {first}' /etc/ssh/sshd_config && systemctl reload ssh")
    # On a busy machine journald may come too late to see who wrote a line: then it is no evidence, as README.md says.
    evidence = "journalctl --quiet --grep 'client not responding' _COMM=sshd-session"
    for _try in range(3):
        with Person(machine, user).at_prompt() as person:
            person.freeze()
            if until(lambda: machine.exec(evidence, check=False).stdout, 10, 0.5):
                break
    machine.exec("sed -i 1,2d /etc/ssh/sshd_config && systemctl reload ssh")


def testhost(*argv: object) -> str:
    done = run([TESTHOST, "--group", GROUP, *argv])
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def booted(name: str, image: str) -> t.Iterator[Machine]:
    testhost("up", f"{name}={image}")
    try:
        inventory = json.loads(testhost("inventory", name))["all"]
        yield Machine(name, image, {**inventory["vars"], **inventory["hosts"][name]})
    finally:
        testhost("down", name)
