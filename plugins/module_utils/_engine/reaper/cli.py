# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command session-reaper. What a subcommand needs is imported when it is called: importing is most of a run."""

from __future__ import annotations

import os
import sys
from typing import Callable, NamedTuple, Sequence

OK, TROUBLE, USAGE = 0, 1, 2


class Usage(Exception):
    """A sentence on what is wrong with the command line."""


def _run(words: Sequence[str]) -> int:
    options, _rest = _options(words, ("--dry-run",), 0)
    from .run import World, look, run

    if "--dry-run" not in options:
        if os.geteuid() != 0:
            raise PermissionError("only root may end sessions: run it as root, or with --dry-run to look")
        return run(World())
    from .judge import END, WARN
    from .show import at_work, said

    for verdict in look(World()).verdicts:
        if verdict.name in (WARN, END):
            session = verdict.session
            words = [session.user or "?", session.kind or "?", *session.ttys, at_work(session)]
            why = f"{', '.join(session.stale_because)}; {said(verdict)}"
            sys.stdout.write(f"would {verdict.name}: {' '.join(words)} ({why})\n")
    return OK


def _list(words: Sequence[str]) -> int:
    options, _rest = _options(words, ("--json",), 0)
    from .run import World, look
    from .show import listing, table

    verdicts = look(World()).verdicts
    if "--json" in options:
        import json

        sys.stdout.write(json.dumps(listing(verdicts), indent=2) + "\n")
    else:
        sys.stdout.write(table(verdicts, sys.stdout.isatty() and "NO_COLOR" not in os.environ))
    return OK


def _check_policy(words: Sequence[str]) -> int:
    _given, rest = _options(words, (), 1)
    from .policy import PATH, load

    path = rest[0] if rest else PATH
    load(path)
    sys.stdout.write(f"{path} is a policy that can be put in force\n")
    return OK


def _metrics(words: Sequence[str]) -> int:
    _options(words, (), 0)
    import time

    began = time.monotonic()
    from .metrics import metrics
    from .run import World, look

    found = look(World())
    sys.stdout.write(metrics(found, time.monotonic() - began))
    return OK


def _why(words: Sequence[str]) -> int:
    _given, users = _options(words, (), 1)
    if os.geteuid() != 0:
        raise PermissionError("only root can read what the logs say of sessions: sudo session-reaper why")
    import time

    from ..judge_history import Query
    from ..observe.history import Places, observe
    from ..why import DAYS, MOST, why

    now = time.time()
    seen = observe(Places(), Query(now - DAYS * 86400, now, users, limit=MOST))
    sys.stdout.write("\n".join(why(seen.endings)) + "\n")
    for sentence in seen.warnings:
        sys.stderr.write(f"session-reaper: {sentence}\n")
    return OK


class Command(NamedTuple):
    call: Callable[[Sequence[str]], int]
    synopsis: str
    about: str


#: A subcommand is a function that takes the words behind its name and returns the exit status.
COMMANDS = {
    "list": Command(_list, "list [--json]", "who is on, how idle, at what work, and what becomes of it"),
    "run": Command(_run, "run [--dry-run]", "warn and end what the policy says; --dry-run only says what it would do"),
    "check-policy": Command(_check_policy, "check-policy [FILE]", "say what is wrong with a policy file"),
    "why": Command(_why, "why [USER]", "why the last sessions ended, in words, and what to do about each"),
    "metrics": Command(_metrics, "metrics", "what a look now comes to, in Prometheus' text format"),
}


def usage() -> str:
    wide = max(len(command.synopsis) for command in COMMANDS.values())
    lines = [f"  {command.synopsis:{wide}}  {command.about}" for command in COMMANDS.values()]
    return "\n".join(
        [
            "usage: session-reaper COMMAND",
            "",
            "Ends login sessions that are idle or too old, by the policy in",
            "/etc/session-reaper/policy.json. A timer or cron calls run.",
            "",
            *lines,
            f"  {'--help':{wide}}  this text; session-reaper(8) says more",
            "",
        ]
    )


def _options(words: Sequence[str], known: Sequence[str], most: int) -> tuple[set[str], list[str]]:
    options = {word for word in words if word.startswith("-")}
    rest = [word for word in words if not word.startswith("-")]
    strange = sorted(options - set(known)) + rest[most:]
    if strange:
        raise Usage(f"{strange[0]} is not known here")
    return options, rest


def main(words: Sequence[str]) -> int:
    """
    Returns:
        The exit status: 0; 1 where something could not be done; 2 for a wrong command line or policy.
    """
    if not words or "--help" in words or words[0] in ("-h", "help"):
        (sys.stdout if words else sys.stderr).write(usage())
        return OK if words else USAGE
    command = COMMANDS.get(words[0])
    try:
        if command is None:
            raise Usage(f"{words[0]} is no command")
        return command.call(words[1:])
    except Usage as exc:
        sys.stderr.write(f"session-reaper: {exc}. See session-reaper --help\n")
        return USAGE
    except ValueError as exc:
        for line in str(exc).splitlines():
            sys.stderr.write(f"session-reaper: {line}\n")
        return USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return TROUBLE
    except OSError as exc:
        sys.stderr.write(f"session-reaper: {exc}\n")
        return TROUBLE
