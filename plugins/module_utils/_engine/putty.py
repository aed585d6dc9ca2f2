# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved sessions of PuTTY: files of KEY=VALUE lines on Unix, keys of the registry on Windows.

How names are escaped and where the files lie was read in PuTTY's unix/storage.c and windows/storage.c, and tried with
plink 0.74, 0.78 and 0.83.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from .duration import parse_duration
from .files import Refused

DEFAULT = "Default Settings"
# NAME_MAX of the usual file systems.
_LONGEST = 255
# Some hundred settings are usual.
_LARGEST_FILE = 1 << 20
_KEY = re.compile(r"[^=\s][^=\r\n]*")


def unix_name(name: str) -> str:
    """The file name of the session `name`: all but letters, digits and ``+-.@_`` as %XX of its bytes.

    Raises:
        Refused: there can be no such session.
    """
    found = re.sub(rb"[^A-Za-z0-9+.@_-]", lambda byte: b"%%%02X" % byte.group()[0], _bytes(name)).decode()
    if found in (".", ".."):
        raise Refused(f"a session cannot be called {name!r}: that is a directory")
    if len(found) > _LONGEST:
        raise Refused(f"the name {name[:20]!r}... makes a file name of {len(found)} bytes, and {_LONGEST} is the most")
    return found


def registry_name(name: str) -> str:
    r"""The registry key of the session `name`: blank, ``\ * ? %``, a leading dot and all that is not ASCII as %XX.

    Raises:
        Refused: there can be no such session, or its key depends on the code page of each Windows.
    """
    if not name.isascii():
        raise Refused(
            f"the session {name!r} is not plain ASCII: its key in the registry depends on the code page of each "
            "Windows, so give it an ASCII name or set it there by hand"
        )
    _bytes(name)
    return re.sub(r"[ \\*?%\x7f]|\A\.", lambda char: f"%{ord(char.group()):02X}", name)


def _bytes(name: str) -> bytes:
    if not name or re.search(r"[\x00-\x1f]", name):
        raise Refused(f"{name!r} is no name of a session: write it as PuTTY shows it, for example {DEFAULT!r}")
    return name.encode("utf-8", "surrogateescape")


def keepalive_settings(seconds: int) -> dict[str, str]:
    """PuTTY's two settings for "seconds between keepalives": whole minutes, and what is left of them; 0 is off."""
    return {"PingInterval": str(seconds // 60), "PingIntervalSecs": str(seconds % 60)}


def wanted_settings(
    keepalive: object, tcp_keepalives: bool | None, settings: Mapping[str, Any] | None
) -> dict[str, str | None]:
    """Value by key as it stands in the file; None for a key that shall not be there.

    Args:
        keepalive: a duration; None and "" are no wish.

    Raises:
        Refused: with a sentence that names the option.
    """
    wanted: dict[str, str | None] = {}
    if keepalive not in (None, ""):
        try:
            wanted.update(keepalive_settings(parse_duration(keepalive)))
        except ValueError as problem:
            raise Refused(f"keepalive: {problem}") from None
    if tcp_keepalives is not None:
        wanted["TCPKeepalives"] = str(int(tcp_keepalives))
    for key, value in (settings or {}).items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise Refused(f"settings: {key!r} is no key of PuTTY's: it must not be empty, nor hold = or a line's end")
        if key in wanted:
            raise Refused(f"settings: {key} is what keepalive or tcp_keepalives says: give only one of them")
        wanted[key] = _value(key, value)
    return wanted


def _value(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (str, int)) and not re.search(r"[\r\n\0]", str(value)):
        return str(value)
    raise Refused(f"settings: {key} is {value!r}: write a text without a line's end, or a whole number")


# --- the text of a session --------------------------------------------------------------------------------------


def edit(data: bytes, wanted: Mapping[str, str | None]) -> bytes:
    """`data` with `wanted` in it; every other line, and the order of all, stays as it is.

    PuTTY takes the first line of a key, so that is the one that is changed; a key that shall go goes with all its
    lines.
    """
    ending = b"\r\n" if data.partition(b"\n")[0].endswith(b"\r") else b"\n"
    left = {_encoded(key): value for key, value in wanted.items()}
    lines = []
    for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
        key, equals, old = line.partition(b"=")
        if not equals or key not in left:
            lines.append(line)
            continue
        value = left[key]
        if value is None:
            continue
        del left[key]
        tail = old[len(old.rstrip(b"\r\n")) :]
        lines.append(key + b"=" + _encoded(value) + tail)
    new = [key + b"=" + _encoded(value) + ending for key, value in left.items() if value is not None]
    if new and lines and not lines[-1].endswith(b"\n"):
        lines[-1] += ending
    return b"".join(lines + new)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def registry(names: Sequence[str], seconds: int, tcp_keepalives: bool | None) -> str:
    """A file that regedit imports: the keepalives of each of these saved sessions.

    Plain ASCII in the older of regedit's two formats, so that it needs no UTF-16; values that are not named in it stay
    as they are on each Windows.

    Raises:
        Refused: a name can't be that of a session.
    """
    values = wanted_settings(seconds, tcp_keepalives, None)
    lines = ["REGEDIT4", ""]
    for name in dict.fromkeys(names):
        lines.append(rf"[HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions\{registry_name(name)}]")
        lines += [f'"{key}"=dword:{int(value or 0):08x}' for key, value in values.items()]
        lines.append("")
    return "\r\n".join(lines) + "\r\n"


# --- in somebody's home, as that user ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """One saved session. Absent with `settings`: only those keys go, and the file when nothing else is in it."""

    name: str
    present: bool
    settings: Mapping[str, str | None]
    # Where PuTTY keeps its files; None: where it would look itself.
    directory: str | None = None


def find_directory(home: str) -> str:
    """Where PuTTY keeps its files: the XDG place if it is there, else the old one (make_filename in unix/storage.c)."""
    newer = os.path.join(home, ".config/putty")
    return newer if os.path.exists(newer) else os.path.join(home, ".putty")


def bring(wish: Wish, home: str, check: bool) -> dict[str, Any]:
    """Make the session as `wish` says; must run as the user whose home it is, whose links it may therefore follow.

    Returns: file, changed, and the text before and after (None: not there).

    Raises:
        Refused, OSError: nothing was changed.
    """
    folder = os.path.join(wish.directory or find_directory(home), "sessions")
    path = os.path.join(folder, unix_name(wish.name))
    before = _read(path) if wish.present or wish.settings else _peek(path)
    after = judge(wish, before)
    if before != after and not check:
        if after is None:
            os.unlink(path)
        else:
            _make_folders(folder, home)
            _write(path, after)
    return {"file": path, "changed": before != after, "before": _shown(before), "after": _shown(after)}


def judge(wish: Wish, before: bytes | None) -> bytes | None:
    """What the file shall hold, None if it shall not be there."""
    if wish.present:
        return edit(before or b"", wish.settings)
    if before is None or not wish.settings:
        return None
    return edit(before, dict.fromkeys(wish.settings)) or None


def _shown(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")


def _peek(path: str) -> bytes | None:
    """What a file that is to go holds, empty where that can't be read."""
    try:
        return _read(path)
    except (Refused, OSError):
        return b""


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if os.path.islink(path):
            raise Refused(f"{path} is a link that leads nowhere: remove it") from None
        return None
    with open(fd, "rb") as stream:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        data = stream.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise OSError(errno.EFBIG, "it is too large for a saved session", path)
    return data


def _make_folders(folder: str, home: str) -> None:
    if not os.path.isdir(home):
        raise Refused(f"{home} is not there: a home is not made for the sake of a saved session")
    # PuTTY makes them like that, too.
    os.makedirs(os.path.dirname(folder), 0o700, exist_ok=True)
    os.makedirs(folder, 0o700, exist_ok=True)


def _write(path: str, data: bytes) -> None:
    """Write beside and rename; a link stays one, as whoever keeps such files elsewhere wants it."""
    path = os.path.realpath(path)
    mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o600
    beside = f"{os.path.dirname(path)}/.session-policy-{secrets.token_hex(4)}.new"
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as stream:
            stream.write(data)
            os.fchmod(fd, mode)
            stream.flush()
            os.fsync(fd)
        os.rename(beside, path)
    except OSError as problem:
        try:
            os.unlink(beside)
        except OSError:
            pass
        raise OSError(problem.errno, problem.strerror, path) from None
