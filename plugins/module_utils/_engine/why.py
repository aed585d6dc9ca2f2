# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endings in words, for the people whose sessions they were: what happened, and what to do about it."""

from __future__ import annotations

import textwrap
import time
from typing import Iterable, Sequence

from .duration import format_duration
from .history import (
    CLIENT_CLOSED,
    CONNECTION_RESET,
    EXIT,
    IDLE_CHANNEL,
    IDLE_SHELL,
    KILLED,
    LOGIN_GRACE,
    LOGIND_IDLE,
    MAX_LOGINS,
    MAX_SESSIONS,
    MAX_STARTUPS,
    POLICY_LOCKOUT,
    REAPER,
    SESSION_TERMINATE,
    SHUTDOWN,
    SOURCE_PENALTY,
    UNKNOWN,
    UNRESPONSIVE_PEER,
    UNUSED_CONNECTION,
    Ending,
)

#: What the command tells: so many days, and so many endings.
DAYS, MOST = 7, 10
_KEEPALIVES = (
    "Set keepalives in your client: ServerAliveInterval 60 in ~/.ssh/config, or in PuTTY Connection, Seconds between "
    "keepalives. Work in tmux or screen outlives a lost connection."
)
_COME_BACK = "Work in tmux: it outlives the session, and `tmux attach` brings you back to it."
#: What happened, and what to do.
_WORDS = {
    EXIT: ("you left: the shell or the command ended", ""),
    CLIENT_CLOSED: (
        "your client closed the connection while the shell was still there: a window was closed, or the client was "
        "killed",
        _COME_BACK,
    ),
    CONNECTION_RESET: (
        "the connection was reset: by a firewall or NAT on the way that forgot it, or by your side",
        _KEEPALIVES,
    ),
    UNRESPONSIVE_PEER: (
        "your client did not answer: the computer slept, the network was away, or the client was frozen",
        _KEEPALIVES,
    ),
    IDLE_CHANNEL: ("nothing went over the connection for so long that sshd closed the session", _COME_BACK),
    UNUSED_CONNECTION: (
        "the connection was logged in and used for nothing, such as ssh -N or a master that waits for its next client",
        "Keep a session open over it, or set ControlPersist shorter than the limit of this host.",
    ),
    IDLE_SHELL: ("you typed nothing at the prompt for so long that the shell ended itself (TMOUT)", _COME_BACK),
    LOGIND_IDLE: (
        "you typed nothing for so long that the host ended the session (StopIdleSessionSec)",
        "That ends a tmux of the session, too. What is to go on: `systemd-run --user --scope tmux`, after "
        "`loginctl enable-linger`.",
    ),
    REAPER: ("the session policy of this host ended it", _COME_BACK),
    SESSION_TERMINATE: ("an administrator ended it", ""),
    KILLED: (
        "a process of the session was ended from outside: by kill, by loginctl, or for lack of memory",
        "Ask the administrator. After lack of memory: journalctl -k | grep -i oom",
    ),
    SHUTDOWN: ("the host went down or was restarted", ""),
    LOGIN_GRACE: (
        "the login took longer than LoginGraceTime allows",
        "Have the password or the token at hand before you connect, or use a key.",
    ),
    MAX_STARTUPS: (
        "too many others were just logging in (MaxStartups)",
        "Try again in a moment. Often it is a scan of passwords: look at the addresses in the journal.",
    ),
    MAX_SESSIONS: (
        "this connection had as many sessions open as MaxSessions allows",
        "Close one of them, or connect anew without sharing: ssh -o ControlPath=none",
    ),
    MAX_LOGINS: (
        "you had as many logins as maxlogins allows",
        "Close one of them. Who is on: `loginctl list-sessions`",
    ),
    POLICY_LOCKOUT: (
        "sshd died on its own configuration: nobody whom that part of it matches can log in",
        "The administrator has to mend sshd_config. `ChannelTimeout none` in a Match block does this, although sshd -t "
        "finds nothing wrong with it.",
    ),
    SOURCE_PENALTY: (
        "sshd takes no connection from this address for a while, for what came from it before (PerSourcePenalties)",
        "Wait a minute or two, and look what else connects from there.",
    ),
    UNKNOWN: ("the logs do not say why", ""),
}
_BECAUSE = {
    "idle": "nothing was typed in it for too long",
    "age": "it was older than sessions may be here",
    "unresponsive": "its client took nothing of what was sent to it",
    "closing": "it had ended, and something kept it open",
}
_KEEPS = (("tmux", "tmux attach"), ("screen", "screen -r"), ("SCREEN", "screen -r"))


def why(endings: Iterable[Ending], width: int = 80) -> list[str]:
    """The endings as lines of at most `width` columns, in their order, each with its advice."""
    lines: list[str] = []
    for ending in endings:
        lines += ([""] if lines else []) + [*_wrapped(_head(ending), width, ""), *_wrapped(_what(ending), width, "  ")]
        for sentence in _advice(ending):
            lines += _wrapped(sentence, width, "  ")
    return lines or ["No session ended that the logs know of."]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + ("" if indent else "    "),
        break_on_hyphens=False,
    )


def _head(ending: Ending) -> str:
    """When, who, from where, how long."""
    words = [time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ending.ended_at)), ending.user or "somebody"]
    kind = {"terminal": ""}.get(ending.kind or "", ending.kind or "")
    words += [word for word in (kind, ending.tty) if word]
    if ending.remote_host:
        words.append(f"from {ending.remote_host}")
    if ending.refused:
        words.append("was refused")
    elif ending.duration is not None:
        words.append(f"after {_rounded(ending.duration)}")
    return " ".join(words)


def _rounded(seconds: int) -> str:
    """A duration as people say it: from an hour on without its seconds."""
    return format_duration(seconds - seconds % 60 if seconds >= 3600 else seconds)


def _what(ending: Ending) -> str:
    text = _WORDS[ending.ended_by][0]
    reasons = [_BECAUSE.get(word, word) for word in ending.because]
    if ending.reason:
        reasons.append(f'"{ending.reason}"')
    if reasons:
        text += ": " + "; ".join(reasons)
    if ending.could_be:
        text += ", only that it was one of these: " + ", ".join(ending.could_be)
    said = [text[:1].upper() + text[1:] + "."]
    if ending.ended_by == UNKNOWN and ending.how:
        said.append(_sentence(ending.how))
    elif ending.inferred:
        said.append(f"({_sentence(ending.how)})")
    return " ".join(said)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _advice(ending: Ending) -> Sequence[str]:
    kept = [word.rpartition(":")[0] for word in ending.survivors]
    said = [
        f"Your {program.lower()} still runs: `{command}`"
        for program, command in _KEEPS
        if any(name.startswith(program) for name in kept)
    ]
    if ending.preserved:
        said.append("What your editors had not saved is in: " + ", ".join(ending.preserved))
    advice = _WORDS[ending.ended_by][1]
    return [*said, advice] if advice and not (said and advice is _COME_BACK) else said
