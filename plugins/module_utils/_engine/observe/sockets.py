# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TCP connections by inode, asked of the kernel in one go (sock_diag(7)) with what it knows of each (struct tcp_info).

/proc/net/tcp would do without privileges, too, but costs five times as much on a busy host and does not tell how
many bytes the peer has acknowledged, which is the only way to see that it stopped answering.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_SOCK_DIAG_BY_FAMILY, _DONE, _ERROR = 20, 3, 2
_NETLINK_SOCK_DIAG = 4
_REQUEST, _DUMP = 0x1, 0x300
_INFO = 2  # INET_DIAG_INFO
_ESTABLISHED, _CLOSE_WAIT = 1, 8
_HEADER = struct.Struct("=IHHII")
#: Traffic up to this many bytes a look may be a keepalive and its answer (an ssh packet of each is 36 to 100 bytes).
KEEPALIVE_BYTES = 256


class Connection(NamedTuple):
    """Times are milliseconds before the look; `acked` and `received` count bytes since the start."""

    local_port: int
    host: str
    port: int
    unsent: int  # bytes that the peer has not acknowledged yet, sent or not
    sent_ago: int | None
    received_ago: int | None
    acked: int | None
    received: int | None

    def quiet(self) -> int | None:
        """Whole seconds without a byte of data either way."""
        if self.sent_ago is None or self.received_ago is None:
            return None
        return min(self.sent_ago, self.received_ago) // 1000

    def bytes(self) -> int | None:
        """Bytes both ways so far."""
        return None if self.acked is None or self.received is None else self.acked + self.received


def _address(family: int, raw: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[:4])
    if raw[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def parse_diag(data: bytes, found: dict[int, Connection]) -> bool:
    """Add the sockets in one read of the netlink socket to `found`; True where the kernel says that it is done.

    Raises:
        OSError: the kernel refuses the question.
        ValueError: this is no answer.
    """
    at = 0
    while at + 16 <= len(data):
        length, kind = _HEADER.unpack_from(data, at)[:2]
        if length < 16 or at + length > len(data):
            raise ValueError("a netlink message runs past its end")
        if kind == _DONE:
            return True
        if kind == _ERROR:
            raise OSError("the kernel answers no sock_diag request")
        if kind == _SOCK_DIAG_BY_FAMILY and length >= 88:
            _one(data[at + 16 : at + length], found)
        at += length + -length % 4
    return False


def _one(message: bytes, found: dict[int, Connection]) -> None:
    # struct inet_diag_msg: 4 bytes, inet_diag_sockid (48), expires, rqueue, wqueue, uid, inode; then attributes.
    family = message[0]
    local, remote = struct.unpack_from("!HH", message, 4)
    unsent, _uid, inode = struct.unpack_from("=III", message, 60)
    info, at = b"", 72
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            break
        if kind == _INFO:
            info = message[at + 4 : at + length]
            break
        at += length + -length % 4
    sent_ago = received_ago = acked = received = None
    if len(info) >= 56:
        sent_ago, _ack_sent, received_ago = struct.unpack_from("=III", info, 44)
    if len(info) >= 136:  # since Linux 4.1
        acked, received = struct.unpack_from("=QQ", info, 120)
    found[inode] = Connection(
        local, _address(family, message[24:40]), remote, unsent, sent_ago, received_ago, acked, received
    )


def connections(timeout: float = 2.0) -> dict[int, Connection] | None:
    """Connected TCP sockets of this network namespace by inode; None where the kernel can't be asked."""
    found: dict[int, Connection] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as link:
            link.settimeout(timeout)
            for family in (socket.AF_INET, socket.AF_INET6):
                states = 1 << _ESTABLISHED | 1 << _CLOSE_WAIT
                request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 1 << (_INFO - 1), states)
                head = _HEADER.pack(16 + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, family, 0)
                link.send(head + request)
                while not parse_diag(link.recv(1 << 18), found):
                    pass
    except (OSError, ValueError, struct.error):
        return None
    return found


def peer_unresponsive(before: Connection | None, after: Connection | None) -> bool | None:
    """Whether the peer has stopped taking what is sent to it, by two looks some seconds apart.

    One look can only clear it: nothing is waiting to be acknowledged.
    """
    if after is None:
        return None
    if not after.unsent:
        return False
    if before is None or before.acked is None or after.acked is None:
        return None
    return before.unsent > 0 and before.acked == after.acked


def socket_inode(target: str | None) -> int | None:
    """The inode in what a descriptor's link says (``socket:[12345]``)."""
    return int(target[8:-1]) if target and target.startswith("socket:[") and target[8:-1].isdecimal() else None
