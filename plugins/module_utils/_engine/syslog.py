# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One structured line a deed, in the journal with a field for each fact, else in syslog.

The text is the same in both: ``ended session user=alice from=192.0.2.7 …``, so that a plain syslog can be searched for
it, too. In the journal (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) each fact is a field ``SESSIONOPS_NAME`` as well,
which nobody but root can forge together with ``_UID=0``.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import syslog as _libc
from typing import Callable, Mapping, Union

from .model import visible

JOURNAL = "/run/systemd/journal/socket"
#: syslog(3) severities.
WARNING, NOTICE, INFO = 4, 5, 6

Fact = Union[str, int, None]
#: identifier, severity, message, facts; whether it could be written.
Log = Callable[[str, int, str, Mapping[str, Fact]], bool]


def line(message: str, facts: Mapping[str, Fact]) -> str:
    """`message` and then each fact that is known as ``name=value``, in quotes where a blank or a quote is in it."""
    known = [f"{name}={_word(value)}" for name, value in facts.items() if value is not None]
    return " ".join([visible(message), *known])


def _word(value: Fact) -> str:
    text = visible(str(value))
    return text if text and not set(text) & set(" \"'=\\") else json.dumps(text, ensure_ascii=False)


def datagram(identifier: str, severity: int, message: str, facts: Mapping[str, Fact]) -> bytes:
    """The entry in the journal's native form; values are given by their length, so no text can end a field."""
    fields: dict[str, Fact] = {
        "MESSAGE": line(message, facts),
        "PRIORITY": severity,
        "SYSLOG_IDENTIFIER": identifier,
        "SYSLOG_PID": os.getpid(),
        **{f"SESSIONOPS_{name.upper()}": value for name, value in facts.items()},
    }
    parts = []
    for name, value in fields.items():
        if value is not None:
            data = visible(str(value)).encode("utf-8", "backslashreplace")
            parts.append(name.encode("ascii") + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
    return b"".join(parts)


def log(identifier: str, severity: int, message: str, facts: Mapping[str, Fact], journal: str = JOURNAL) -> bool:
    """Write one line; never waits for a log that does not take it.

    Returns:
        False if there is no log that takes it.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as end:
            end.sendto(datagram(identifier, severity, message, facts), journal)
        return True
    except OSError:
        pass
    if not os.path.exists("/dev/log"):
        return False
    _libc.openlog(identifier, _libc.LOG_PID, _libc.LOG_AUTH)
    try:
        _libc.syslog(severity, line(message, facts))
    finally:
        _libc.closelog()
    return True
