# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd: what it can do, what is configured, what is in force, and whether the running daemon has read it.

In force is what `sshd -T` says (`-T -C user=…` for one user); where a value comes from is our own
reading of the files, checked against it. The daemon writes its pid file after it has read its
configuration, at its start and again after every SIGHUP (sshd.c: sighup_restart() unlinks it and
runs itself anew): the file's mtime is when the running configuration was read, however the reload
was asked for, while pid and start time stay what they were.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

from ..platforms.platform import Platform
from .command import Answer, Command, Runner
from .sshd_config import Setting, canonical, global_settings, origin, read_config
from .tree import Tree

POLICY_KEYWORDS = (
    "clientaliveinterval",
    "clientalivecountmax",
    "channeltimeout",
    "unusedconnectiontimeout",
    "logingracetime",
    "maxsessions",
    "maxstartups",
    "tcpkeepalive",
)
# A stranger for `-C`: addresses of RFC 5737 that no Match for real hosts names.
_FROM = "host=client.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22"
_MISSING_DIR = re.compile(r"Missing privilege separation directory: (/\S+)")
_NO_KEYS = "no hostkeys available"
# `sshd -T` alone, where a Match block looks at more than the user.
_NEEDS_SPEC = "not in connection test specification"


@dataclass(frozen=True)
class Sshd:
    """See RETURN of policy_info for what the fields mean."""

    installed: bool
    binary: str | None = None
    version: str | None = None
    version_number: list[int] | None = None
    config: str | None = None
    config_ok: bool | None = None
    config_error: str | None = None
    include: bool = False
    drop_in_dir: str | None = None
    drop_in_dir_exists: bool = False
    drop_in_first: bool = False
    unit: str | None = None
    socket_activated: bool = False
    running: bool = False
    pid: int | None = None
    started_at: float | None = None
    loaded_at: float | None = None
    config_changed_at: float | None = None
    current: bool | None = None
    current_why: str | None = None
    reload: list[list[str]] = field(default_factory=list)
    start: list[list[str]] = field(default_factory=list)
    validate: list[list[str]] = field(default_factory=list)
    supports: dict[str, bool] = field(default_factory=dict)
    scanner_main_file: bool = False
    options: list[str] = field(default_factory=list)
    effective: dict[str, str] = field(default_factory=dict)
    effective_by_user: dict[str, dict[str, str]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    matches: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Daemon:
    """The listening sshd: `options` are the -f and -o of its command line; `started_at` in seconds of the epoch."""

    pid: int
    started_at: float | None
    options: tuple[str, ...]


# --- questions --------------------------------------------------------------------------------------------------


def questions(tree: Tree, platform: Platform, daemon: Daemon | None, users: Sequence[str]) -> dict[str, Command]:
    asked: dict[str, Command] = {}
    binary = tree.program("sshd")
    if binary:
        options = daemon.options if daemon else ()
        asked["sshd.version"] = Command((binary, "-V"))
        asked["sshd.T"] = Command((binary, "-T", *options))
        for user in users:
            asked[f"sshd.T.{user}"] = Command((binary, "-T", *options, "-C", f"user={user},{_FROM}"))
        ssh = tree.program("ssh")
        if ssh:
            asked["sshd.client"] = Command((ssh, "-V"))
    systemctl = tree.program("systemctl")
    if systemctl and tree.is_dir("/run/systemd/system"):
        names = [f"{n}.{kind}" for kind in ("service", "socket") for n in platform.sshd_units]
        # One answer per name and in that order, whichever exist.
        properties = "Id,LoadState,ActiveState,MainPID,Accept"
        asked["sshd.units"] = Command((systemctl, "show", *names, "--property=" + properties))
    return asked


def in_private_run(missing: str, command: Command) -> Command:
    """`command` in a mount namespace of its own where the folder `missing` exists; the host never sees it."""
    parent = os.path.dirname(missing)
    script = f'mount -t tmpfs tmpfs {shlex.quote(parent)} && mkdir -m 0755 {shlex.quote(missing)} && exec "$@"'
    return Command(("unshare", "--mount", "sh", "-c", script, "sh", *command.argv), env=command.env)


# --- the daemon -------------------------------------------------------------------------------------------------


def find_daemon(tree: Tree) -> Daemon | None:
    """The sshd that listens, by its pid file, else by its title among the processes of our PID namespace."""
    recorded = (tree.read("/run/sshd.pid") or tree.read("/var/run/sshd.pid") or "").strip()
    candidates = [recorded] if re.fullmatch(r"[0-9]{1,9}", recorded) else []
    for pid in candidates:
        found = _daemon(tree, pid)
        if found:
            return found
    own = _namespace(tree, "self")
    try:
        pids = [name for name in os.listdir(tree.place("/proc")) if name.isdecimal()]
    except OSError:
        return None
    for pid in sorted(pids, key=int):
        found = _daemon(tree, pid)
        if found and _namespace(tree, pid) == own:
            return found
    return None


def _namespace(tree: Tree, pid: str) -> str | None:
    try:
        return os.readlink(tree.place(f"/proc/{pid}/ns/pid"))
    except OSError:
        return None


def _daemon(tree: Tree, pid: str) -> Daemon | None:
    if (tree.read(f"/proc/{pid}/comm") or "").strip() != "sshd":
        return None
    options = listener_options(tree.read(f"/proc/{pid}/cmdline") or "")
    if options is None:
        return None
    return Daemon(int(pid), process_start(tree, pid), options)


def listener_options(cmdline: str) -> tuple[str, ...] | None:
    """-f and -o of a listening sshd's command line; None if this is a connection and not the listener.

    From 8.2 on the title is ``sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups`` (arguments joined by
    blanks), before that the arguments themselves.
    """
    title = re.match(r"sshd: (\S.*?) \[listener\]", cmdline, re.DOTALL)
    words = title.group(1).split() if title else cmdline.rstrip("\0").split("\0")
    if not words[0] or words[0].startswith("sshd:"):
        return None
    if any(re.fullmatch(r"-[46DdeqrtT]*i[46DdeqrtT]*", w) for w in words[1:]):
        return None
    options: list[str] = []
    at = 1
    while at < len(words):
        word = words[at]
        if word[:2] in ("-f", "-o"):
            value = word[2:] or (words[at + 1] if at + 1 < len(words) else "")
            at += 1 if word[2:] else 2
            options += [word[:2], value]
        else:
            at += 1
    return tuple(options)


def process_start(tree: Tree, pid: str) -> float | None:
    """Field 22 of /proc/PID/stat (clock ticks since boot) as seconds of the epoch."""
    tail = (tree.read(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    boot = re.search(r"^btime ([0-9]{1,12})$", tree.read("/proc/stat") or "", re.MULTILINE)
    if len(tail) < 20 or not tail[19].isdecimal() or not boot:
        return None
    return int(boot.group(1)) + int(tail[19]) / os.sysconf("SC_CLK_TCK")


# --- answers ----------------------------------------------------------------------------------------------------


def parse_version(*outputs: str) -> tuple[str | None, tuple[int, ...] | None]:
    """("9.2p1", (9, 2)) from what sshd -V, or its usage error before 9.0, or ssh -V print.

    The first output that names a version counts; a later one that agrees adds the portable level.
    """
    best: str | None = None
    for output in outputs:
        found = re.search(r"OpenSSH_([0-9]{1,3})\.([0-9]{1,3})(p[0-9]{1,3})?", output)
        if not found:
            continue
        text = found.group(0)[len("OpenSSH_") :]
        if best is None or (text.startswith(best) and "p" not in best):
            best = text
    if best is None:
        return None, None
    return best, tuple(int(n) for n in best.partition("p")[0].split("."))


def parse_effective(output: str) -> dict[str, str]:
    """`sshd -T` lines as {keyword: value}; a keyword that comes several times has one value a line."""
    values: dict[str, str] = {}
    for line in output.splitlines():
        keyword, _blank, value = line.strip().partition(" ")
        if not re.fullmatch(r"[a-z0-9]+", keyword):
            continue
        values[keyword] = f"{values[keyword]}\n{value}" if keyword in values else value
    return values


def parse_units(output: str) -> list[dict[str, str]]:
    units = []
    for block in re.split(r"\n\s*\n", output):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("Id"):
            units.append(unit)
    return units


def observe_sshd(
    tree: Tree,
    platform: Platform,
    release: str,
    init: str,
    daemon: Daemon | None,
    users: Sequence[str],
    asked: Mapping[str, Command],
    answers: Mapping[str, Answer],
    run: Runner,
    root: bool,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Sshd:
    """Facts from the `answers` to what `questions()` asked.

    Args:
        release: "ID:MAJOR" of os-release.
        root: whether we may see everything.
    """
    binary = tree.program("sshd")
    if not binary:
        return Sshd(installed=False)
    warnings: list[str] = []
    said = [answers[key] for key in ("sshd.version", "sshd.client") if key in answers]
    version, number = parse_version(*(a.out + a.err for a in said))
    options = daemon.options if daemon else ()
    main = _main_file(tree, platform, options)
    config = read_config(tree, main, number)

    answers, missing_dir = _asked_again(asked, answers, run)
    test = answers.get("sshd.T", Answer(None))
    effective = parse_effective(test.out) if test.rc == 0 else {}
    config_ok, config_error = _verdict(test, root, warnings)
    by_user: dict[str, dict[str, str]] = {}
    for user in users:
        answer = answers.get(f"sshd.T.{user}", Answer(None))
        if answer.rc == 0:
            values = parse_effective(answer.out)
            by_user[user] = {k: values[k] for k in POLICY_KEYWORDS if k in values}
        elif config_ok:
            warnings.append(f"sshd does not say what is in force for {user}: {_words(answer)}")

    written = global_settings(config)
    sources = {k: origin(written[k]) for k in POLICY_KEYWORDS if k in written}
    by_option = _options_on_command_line(options)
    sources.update({k: v for k, v in by_option.items() if k in POLICY_KEYWORDS})
    warnings += _disagreements(sources, effective)

    units = parse_units(answers.get("sshd.units", Answer(None)).out)
    service = _unit(units, ".service", platform)
    listening_socket = next(
        (u for u in units if u["Id"].endswith(".socket") and u.get("ActiveState") == "active"), None
    )
    changed = [t for t in map(tree.changed_at, config.watched) if t is not None]
    changed_at = max(changed) if changed else None
    loaded_at, why = _loaded_at(tree, daemon, effective, changed_at, now, sleep)
    per_connection = listening_socket is not None and (daemon is None or listening_socket.get("Accept") == "yes")
    if per_connection:
        current: bool | None = True
        why = "every connection starts an sshd of its own, which reads the configuration anew"
    else:
        current, why = _current(daemon, loaded_at, changed_at, why)

    first_own = min((s.line for s in written_in_main(written, main)), default=None)
    include_line = next((line for line, pattern in config.includes if _covers(pattern, platform)), None)
    can = number or (0, 0)
    validate = Command((binary, "-t", *options))
    return Sshd(
        installed=True,
        binary=binary,
        version=version,
        version_number=list(number) if number else None,
        config=main,
        config_ok=config_ok,
        config_error=config_error,
        include=include_line is not None,
        drop_in_dir=platform.sshd_drop_in_dir,
        drop_in_dir_exists=tree.is_dir(platform.sshd_drop_in_dir),
        drop_in_first=include_line is not None and (first_own is None or include_line < first_own),
        unit=service,
        socket_activated=listening_socket is not None,
        running=daemon is not None or listening_socket is not None,
        pid=daemon.pid if daemon else None,
        started_at=daemon.started_at if daemon else None,
        loaded_at=loaded_at,
        config_changed_at=changed_at,
        current=current,
        current_why=why,
        reload=[] if per_connection or daemon is None else [_reload(tree, init, service, units, daemon)],
        start=_start(tree, init, binary, service, units, daemon),
        validate=[list((in_private_run(missing_dir, validate) if missing_dir else validate).argv)],
        supports={
            "include": can >= (8, 2),
            "channel_timeout": can >= (9, 2),
            "unused_connection_timeout": can >= (9, 2),
            "count_max_zero_disables": can >= (8, 2),
        },
        scanner_main_file=release in platform.scanner_main_file,
        options=list(options),
        effective=effective,
        effective_by_user=by_user,
        sources=sources,
        matches=[
            {"criteria": s.match, "keyword": s.keyword, "value": s.value, "source": s.source, "ours": s.ours}
            for s in config.settings
            if s.match is not None and s.keyword in POLICY_KEYWORDS
        ],
        warnings=warnings,
    )


def _main_file(tree: Tree, platform: Platform, options: Sequence[str]) -> str:
    for flag, value in zip(options[::2], options[1::2]):
        if flag == "-f":
            return value
    return tree.first(*platform.sshd_configs) or platform.sshd_configs[0]


def _asked_again(
    asked: Mapping[str, Command], answers: Mapping[str, Answer], run: Runner
) -> tuple[Mapping[str, Answer], str | None]:
    """The answers, asked again where sshd missed something that only this kind of question needs.

    That is its run-time folder (nothing keeps /run/sshd while a socket listens), which is also returned, and
    for `Match LocalPort` and the like a connection to think of.
    """
    missing = _MISSING_DIR.search(answers.get("sshd.T", Answer(None)).err)
    if missing:
        again = {k: in_private_run(missing.group(1), c) for k, c in asked.items() if k.startswith("sshd.T")}
        answers = {**answers, **run(again)}
    if _NEEDS_SPEC in answers.get("sshd.T", Answer(None)).err:
        plain = asked["sshd.T"]
        spec = Command((*plain.argv, "-C", f"user=nobody,{_FROM}"), env=plain.env)
        answers = {**answers, **run({"sshd.T": in_private_run(missing.group(1), spec) if missing else spec})}
    return answers, missing.group(1) if missing else None


def _words(answer: Answer) -> str:
    """What a command said on stderr, in one line."""
    said = [line.strip() for line in answer.err.splitlines() if line.strip()]
    return "; ".join(said) or answer.error or f"exit code {answer.rc}"


def _verdict(test: Answer, root: bool, warnings: list[str]) -> tuple[bool | None, str | None]:
    if test.rc == 0:
        return True, None
    words = _words(test)
    if test.rc is None or not root or _NO_KEYS in words or "privilege separation" in words.lower():
        why = "only root can ask it" if not root else words
        warnings.append(f"What sshd has in force is not known: {why}.")
        return None, words
    return False, words


def _options_on_command_line(options: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for flag, value in zip(options[::2], options[1::2]):
        keyword, _sign, rest = value.partition("=")
        if flag == "-o" and keyword.lower() not in found:
            found[keyword.lower()] = {
                "source": "command line",
                "value": canonical(keyword.lower(), rest.split()),
                "ours": False,
                "overridden": [],
            }
    return found


def _disagreements(sources: Mapping[str, Mapping[str, Any]], effective: Mapping[str, str]) -> list[str]:
    """Where sshd took another value than our reading of the files says: then our source is not to be trusted."""
    return [
        f"{found['source']} sets {keyword} to {found['value']}, but sshd has {effective[keyword]} in force: "
        "the source of this value is not known."
        for keyword, found in sources.items()
        if keyword in effective and effective[keyword] != found["value"]
    ]


def written_in_main(written: Mapping[str, Sequence[Setting]], main: str) -> list[Setting]:
    return [s for k in POLICY_KEYWORDS for s in written.get(k, ()) if s.path == main and not s.ours]


def _covers(pattern: str, platform: Platform) -> bool:
    return pattern in (platform.sshd_drop_in_dir + "/*.conf", platform.sshd_drop_in_dir + "/*")


def _unit(units: Sequence[Mapping[str, str]], kind: str, platform: Platform) -> str | None:
    loaded = [u["Id"][: -len(kind)] for u in units if u["Id"].endswith(kind) and u.get("LoadState") == "loaded"]
    return next((n for n in platform.sshd_units if n in loaded), None)


def _loaded_at(
    tree: Tree,
    daemon: Daemon | None,
    effective: Mapping[str, str],
    changed_at: float | None,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[float | None, str | None]:
    """When the running daemon read its configuration, and why that is not known if it is not."""
    if daemon is None:
        return None, "no sshd listens"
    pid_file = effective.get("pidfile") or "/run/sshd.pid"
    if pid_file == "none":
        return None, "PidFile is none, and nothing else tells when sshd was last reloaded"
    # Right after a change its reload may still be under way: kill(1) does not wait for sshd.
    patience = 10 if changed_at is not None and now() - changed_at < 2 else 0
    while True:
        try:
            found: float | None = os.stat(tree.place(pid_file)).st_mtime
        except OSError:
            found = None
        written = (tree.read(pid_file) or "").strip()
        good = found is not None and written == str(daemon.pid)
        if good and (changed_at is None or (found or 0) >= changed_at):
            return found, None
        if patience == 0:
            break
        patience -= 1
        sleep(0.05)
    return (found, None) if good else (None, f"{pid_file} does not name the running sshd ({daemon.pid})")


def _current(
    daemon: Daemon | None, loaded_at: float | None, changed_at: float | None, why: str | None
) -> tuple[bool | None, str | None]:
    if daemon is None or changed_at is None:
        return None, why
    if loaded_at is not None:
        return loaded_at >= changed_at, None
    # start_time is coarse (10 ms, and btime a whole second): only a clear lead counts.
    if daemon.started_at is not None and daemon.started_at > changed_at + 1:
        return True, None
    return None, why


def _reload(tree: Tree, init: str, unit: str | None, units: Sequence[Mapping[str, str]], daemon: Daemon) -> list[str]:
    """The argv that makes the daemon read its configuration again without touching connections."""
    active = _active(units)
    if init == "systemd" and unit and {f"{unit}.service", f"{unit}.socket"} <= active:
        # systemd holds the listening socket: on SIGHUP sshd 10.0 dies of "Cannot bind any address", so it is put away
        # instead, and the next connection starts it anew. Connections stay (KillMode=process), and none is refused.
        return ["systemctl", "stop", f"{unit}.service"]
    if init == "systemd" and unit and f"{unit}.service" in active:
        return ["systemctl", "reload", f"{unit}.service"]
    return _by_script(tree, init, "reload") or ["kill", "-HUP", str(daemon.pid)]


def _start(
    tree: Tree,
    init: str,
    binary: str,
    unit: str | None,
    units: Sequence[Mapping[str, str]],
    daemon: Daemon | None,
) -> list[list[str]]:
    """The argvs that bring what listens now up again, should it die; they do nothing to what lives."""
    active = _active(units)
    listening = next((u for u in (f"{unit}.socket", f"{unit}.service") if init == "systemd" and u in active), None)
    if listening:
        # A unit that failed often is not started any more before its failures are forgotten.
        return [["systemctl", "reset-failed", f"{unit}.service", listening], ["systemctl", "start", listening]]
    if daemon is None:
        return []
    return [_by_script(tree, init, "start") or [binary, *daemon.options]]


def _active(units: Sequence[Mapping[str, str]]) -> set[str]:
    return {u["Id"] for u in units if u.get("ActiveState") in ("active", "reloading")}


def _by_script(tree: Tree, init: str, verb: str) -> list[str] | None:
    script = next((n for n in ("ssh", "sshd") if tree.exists(f"/etc/init.d/{n}")), None)
    by = {"openrc": "rc-service", "sysvinit": "service"}.get(init)
    return [by, script, verb] if script and by else None
