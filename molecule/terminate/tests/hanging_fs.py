# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FUSE file system at argv[1] that answers for its root and for nothing in it: who asks there hangs.

A process that is signalled while its request is with the daemon sleeps uninterruptibly, and not even KILL ends it
(fuse(4), include/uapi/linux/fuse.h). It goes on when this program ends. Runs on the host, as root.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

LOOKUP, GETATTR, INIT, ENOSYS = 1, 3, 26, 38
place = sys.argv[1]
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hanging", place.encode(), b"fuse", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
while True:
    request = os.read(device, 1 << 18)
    _length, opcode, unique = struct.unpack_from("<IIQ", request)
    if opcode == INIT:
        answer = struct.pack("<IIIIHHI32x", 7, 31, 0, 0, 1, 1, 65536) + bytes(4)
    elif opcode == GETATTR:
        times = (0, 0, 0, 0, 0, 0)
        answer = struct.pack("<QII6Q3I7I", 3600, 0, 0, 1, *times[:5], 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
    elif opcode == LOOKUP:
        continue  # and whoever asked waits
    else:
        answer = b""
    os.write(device, struct.pack("<IiQ", 16 + len(answer), 0 if answer else -ENOSYS, unique) + answer)
