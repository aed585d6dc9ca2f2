# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A D-Bus client, small enough to ask logind about hundreds of sessions while /proc is being read.

One `busctl` a question costs more than the whole of /proc. Here the questions are sent ahead (`ask`, `pump`), the
other side works meanwhile, and the answers are collected at the end (`collect`), all under one deadline.
The wire format is that of the D-Bus Specification, "Message Protocol".
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import time
from typing import Any, Mapping, NamedTuple

SYSTEM_BUS = "/run/dbus/system_bus_socket"
# The bus daemon refuses a connection's calls beyond 128 pending replies.
WINDOW = 100
_LARGEST = 1 << 20
_FIXED = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "b": "I", "h": "I"}
_UINT32, _UINT64 = struct.Struct("<I").unpack_from, struct.Struct("<Q").unpack_from
_ALIGN = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}


class Call(NamedTuple):
    """A method call whose arguments are all strings."""

    destination: str
    path: str
    interface: str
    member: str
    arguments: tuple[str, ...] = ()


def _string(out: bytearray, text: str) -> None:
    raw = text.encode()
    out += bytes(-len(out) % 4) + struct.pack("<I", len(raw)) + raw + b"\0"


def _signature(out: bytearray, text: str) -> None:
    out += bytes((len(text),)) + text.encode() + b"\0"


def encode(call: Call, serial: int) -> bytes:
    """The call as one little-endian message."""
    body = bytearray()
    for argument in call.arguments:
        _string(body, argument)
    fields = bytearray()
    texts = ((1, "o", call.path), (2, "s", call.interface), (3, "s", call.member), (6, "s", call.destination))
    for code, kind, text in texts:
        fields += bytes(-len(fields) % 8) + bytes((code,))
        _signature(fields, kind)
        _string(fields, text)
    if body:
        fields += bytes(-len(fields) % 8) + b"\x08"
        _signature(fields, "g")
        _signature(fields, "s" * len(call.arguments))
    head = struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), serial, len(fields))
    return bytes(head + fields + bytes(-len(fields) % 8) + body)


@functools.lru_cache(maxsize=256)
def _element(signature: str, at: int) -> int:
    """Where the single complete type that starts at `at` ends."""
    while signature[at] == "a":
        at += 1
    if signature[at] in "({":
        depth = 0
        while True:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[at], 0)
            at += 1
            if not depth:
                return at
    return at + 1


def _text(data: bytes, at: int) -> tuple[str, int]:
    """The string that stands from the next boundary of 4 on, and the offset behind it."""
    at += -at % 4
    end = at + 4 + _UINT32(data, at)[0]
    if end >= len(data):
        raise ValueError("a string runs past the message")
    return data[at + 4 : end].decode("utf-8", "replace"), end + 1


def _value(data: bytes, at: int, signature: str, start: int, depth: int = 0) -> tuple[Any, int]:
    """The value of the one type at signature[start], and the offset behind it."""
    if depth > 32:
        raise ValueError("nested too deeply")
    kind = signature[start]
    at += -at % _ALIGN.get(kind, 4)
    if kind in "so":
        return _text(data, at)
    if kind in _FIXED:
        code = "<" + _FIXED[kind]
        return struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)
    if kind in "gv":
        end = at + 1 + data[at]
        inner = data[at + 1 : end].decode("ascii")
        return (inner, end + 1) if kind == "g" else _value(data, end + 1, inner, 0, depth + 1)
    if kind == "a":
        size = struct.unpack_from("<I", data, at)[0]
        at += 4
        at += -at % _ALIGN.get(signature[start + 1], 4)
        end = at + size
        if end > len(data):
            raise ValueError("an array runs past the message")
        items = []
        while at < end:
            item, at = _value(data, at, signature, start + 1, depth + 1)
            items.append(item)
        return (dict(items) if signature[start + 1] == "{" else items), at
    if kind in "({":
        stop = _element(signature, start) - 1
        start += 1
        fields: list[Any] = []
        while start < stop:
            if signature[start] in "so":  # most of what there is
                field, at = _text(data, at)
                start += 1
            else:
                field, at = _value(data, at, signature, start, depth + 1)
                start = _element(signature, start)
            fields.append(field)
        return tuple(fields), at
    raise ValueError(f"unknown type {kind!r}")


class Reply(NamedTuple):
    serial: int
    error: str  # "" for a method return
    signature: str
    data: bytes
    body_at: int

    def body(self) -> tuple[Any, ...]:
        """The values of the message.

        Raises:
            ValueError: they are not what the signature says.
        """
        try:
            values, at, start = [], self.body_at, 0
            while start < len(self.signature):
                value, at = _value(self.data, at, self.signature, start)
                values.append(value)
                start = _element(self.signature, start)
        except (struct.error, IndexError, UnicodeDecodeError, TypeError) as exc:
            raise ValueError(f"not a D-Bus message: {exc}") from exc
        return tuple(values)

    def properties(self, wanted: Mapping[str, bytes]) -> dict[str, Any]:
        """Of a body that is one a{sv}, the `wanted` (signature by key) that it has: a tenth of the work of `body`.

        A key is found by its bytes as they stand there (its length, itself, NUL and the signature of its value). No
        text can forge them, because none can hold a NUL.

        Raises:
            ValueError: a value runs past the message.
        """
        found: dict[str, Any] = {}
        if self.signature != "a{sv}":
            return found
        data, place = self.data, self.data.find
        for name, kind in wanted.items():
            key = _key(name, kind)
            at = place(key, self.body_at)
            if at < 0:
                continue
            at += len(key)
            try:
                if kind in b"so":
                    found[name] = _text(data, at)[0]
                elif kind in b"ub":
                    found[name] = _UINT32(data, at + -at % 4)[0]
                else:
                    found[name] = _UINT64(data, at + -at % 8)[0]
            except struct.error as exc:
                raise ValueError(f"not a D-Bus message: {exc}") from exc
        return found


@functools.lru_cache(maxsize=None)
def _key(name: str, kind: bytes) -> bytes:
    """How an entry of an a{sv} begins whose value is a string (s, o), a u, b or t."""
    return struct.pack("<I", len(name)) + name.encode() + b"\0\1" + kind + b"\0"


def decode(data: bytes, at: int = 0) -> tuple[Reply, int]:
    """The message that starts at `at` and the offset behind it; that is `at` where it is not complete yet.

    Raises:
        ValueError: this is not D-Bus.
    """
    nothing = Reply(0, "", "", b"", 0)
    if len(data) - at < 16:
        return nothing, at
    size, _serial, fields_size = struct.unpack_from("<III", data, at + 4)
    body_at = 16 + fields_size + -fields_size % 8
    total = body_at + size
    if data[at] != 108 or total > _LARGEST:  # "l"
        raise ValueError("not a little-endian message of a sane size")
    if len(data) - at < total:
        return nothing, at
    message = data[at : at + total]
    fields: dict[int, Any] = {}
    place, end = 16, 16 + fields_size
    try:
        while place < end:
            place += -place % 8
            code = message[place]
            fields[code], place = _value(message, place + 1, "v", 0)
    except (struct.error, IndexError, UnicodeDecodeError) as exc:
        raise ValueError(f"not a D-Bus message: {exc}") from exc
    error = str(fields.get(4, "?")) if message[1] == 3 else ""
    serial = fields.get(5, 0) if message[1] in (2, 3) else 0
    if not isinstance(serial, int):
        raise ValueError("a reply to no number")
    return Reply(serial, error, str(fields.get(8, "")), message, body_at), at + total


class Bus:
    """One connection to a message bus; every wait on it ends at `deadline` (monotonic seconds).

    Raises:
        OSError: nobody answers at `path`, or not in time.
        ValueError: who answers does not speak D-Bus.
    """

    def __init__(self, path: str, deadline: float) -> None:
        self._deadline = deadline
        self._waiting: list[tuple[int, Call]] = []
        self._pending: dict[int, None] = {}
        self._replies: dict[int, Reply] = {}
        self._received = b""
        self._let_in = False
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._limit()
            self._socket.connect(path)
            # All at once, as sd-bus does: each answer that is waited for would cost a turn of the bus daemon.
            uid = str(os.geteuid()).encode().hex()
            self._socket.sendall(b"\0AUTH EXTERNAL " + uid.encode() + b"\r\nBEGIN\r\n")
            service = "org.freedesktop.DBus"
            self.ask(Call(service, "/org/freedesktop/DBus", service, "Hello"))
        except BaseException:
            self._socket.close()
            raise

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise OSError("the bus did not answer in time")
        self._socket.settimeout(left)

    def ask(self, call: Call) -> int:
        """Queue `call` for the next `pump` or `collect`; the number is what to collect its answer by."""
        self._serial += 1
        self._waiting.append((self._serial, call))
        return self._serial

    def _send(self) -> None:
        room = WINDOW - len(self._pending)
        if self._waiting and room > 0:
            batch, self._waiting = self._waiting[:room], self._waiting[room:]
            self._pending.update((serial, None) for serial, _call in batch)
            self._limit()
            self._socket.sendall(b"".join(encode(call, serial) for serial, call in batch))

    def _receive(self) -> None:
        chunk = self._socket.recv(1 << 18)
        if not chunk:
            raise OSError("the bus hung up")
        data, at = self._received + chunk, 0
        if not self._let_in:
            answer, end, rest = data.partition(b"\r\n")
            if not b"OK ".startswith(answer[:3]) or len(answer) > 512:
                raise ValueError("the bus does not let us in")
            self._let_in, data = bool(end), rest if end else data
        while self._let_in:
            reply, behind = decode(data, at)
            if behind == at:
                break
            at = behind
            if reply.serial in self._pending:
                del self._pending[reply.serial]
                self._replies[reply.serial] = reply
        self._received = data[at:]

    def collect(self, serials: list[int]) -> list[Reply]:
        """The answers to `serials`, in that order, waiting for those that are still under way."""
        self._send()
        while not self.has(serials):
            self._limit()
            self._receive()
            self._send()
        return [self._replies[serial] for serial in serials]

    def has(self, serials: list[int]) -> bool:
        """Whether the answers to all of `serials` are there."""
        return all(serial in self._replies for serial in serials)

    def pump(self) -> None:
        """Take what has come and send what then fits, without waiting."""
        self._send()
        if self._pending:
            self._socket.settimeout(0)
            try:
                while self._pending:
                    self._receive()
            except BlockingIOError:
                self._send()

    def close(self) -> None:
        self._socket.close()
