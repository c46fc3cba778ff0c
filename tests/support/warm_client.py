"""Asks a server of `warm.py` for a program, and ends as that does: python -IS warm_client.py SOCKET WORDS …"""

import json
import os
import socket
import sys
from pathlib import Path

NUMBER_BYTES = 12  # as in warm.py, which is not imported: that takes longer than this

with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    socket.send_fds(server, [b" "], [0, 1, 2])
    order = {"words": sys.argv[2:], "directory": str(Path.cwd()), "environment": dict(os.environ)}
    server.sendall(json.dumps(order).encode() + b"\n")
    # Its process id, which nothing here needs, then its status.
    server.recv(NUMBER_BYTES, socket.MSG_WAITALL)
    status = int(server.recv(NUMBER_BYTES, socket.MSG_WAITALL) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
