"""Ports for servers that tests start: others in each process of pytest-xdist, none that the kernel gives away."""

import os
import socket
from collections.abc import Iterator

# Above those of Ray's workers, which end at 19999, and below the kernel's for outgoing connections, from 32768 on: a
# port from there may be taken again between the moment it is found free and that in which a server binds it.
_FIRST, _SPAN = 20_000, 1_200
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _candidates() -> Iterator[int]:
    turn = os.getpid()  # two sessions on a machine begin in different places
    while True:
        turn += 1
        yield _FIRST + (_WORKER % 10) * _SPAN + turn * 7 % _SPAN


_next = _candidates()


def free_port() -> int:
    """One that nobody listens on, and that this process has not given out lately."""
    for port in _next:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError  # the candidates never end
