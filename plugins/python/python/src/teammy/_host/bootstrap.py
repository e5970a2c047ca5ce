"""The first module of a plugin's process. An old Python can parse it too, and say that it is too old.

The node starts it with

    import sys; sys.path[0] = sys.argv[1]; from teammy._host.bootstrap import main; main()
"""

import json
import os
import socket
import struct
import sys

OLDEST = (3, 10)


def main():
    if sys.version_info < OLDEST:
        refuse()
    else:
        from teammy._host.guardian import main as guard

        guard(sys.argv[1:])


def refuse():
    """Answers the first request with what to do, and ends."""
    version = ".".join(map(str, sys.version_info[:3]))
    message = (
        "%s is Python %s, and plugins need %d.%d or newer: name another interpreter, or make a new "
        "virtual environment"
        % (
            sys.executable,
            version,
            OLDEST[0],
            OLDEST[1],
        )
    )
    head = json.dumps({"type": "refused", "code": "python-version", "message": message}).encode("utf-8")
    node = socket.fromfd(1, socket.AF_UNIX, socket.SOCK_STREAM)
    os.close(1)
    _read(node, struct.unpack("<I", _read(node, 4))[0])
    node.sendall(struct.pack("<II", 4 + len(head), len(head)) + head)
    os.write(0, b'{"exited": 0, "call": 0}\n')


def _read(node, size):
    data = b""
    while len(data) < size:
        more = node.recv(size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data
