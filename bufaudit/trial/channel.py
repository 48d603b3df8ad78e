"""The child's side of a trial: one JSON message a line in, one out, until the parent is gone."""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

from bufaudit.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: How much memory, in bytes, each process of a trial may take.
MEMORY = 8 << 30


class Channel:
    """Requests on one file descriptor, replies on another.

    Standard output is not used: libraries print to it. A thread of its own reads, so that the process ends with its
    parent even while it hangs in a collective.
    """

    def __init__(self, requests: int, replies: int) -> None:
        _limit_memory()
        self._replies = replies
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()

    def serve(self, handlers: Mapping[type, Callable[[Any], object]]) -> None:
        """Answer requests for ever; a line is the name of a request's class, a space and the request."""
        kinds = {kind.__name__: kind for kind in handlers}
        while True:
            name, _, body = self._lines.get().partition(b" ")
            kind = kinds[name.decode()]
            self.send(handlers[kind](from_json(kind, body)))

    def send(self, reply: object) -> None:
        """Write a reply, all of it."""
        data = to_json(reply) + b"\n"
        while data:
            data = data[os.write(self._replies, data) :]

    def _read(self, requests: int) -> None:
        with os.fdopen(requests, "rb") as lines:
            for line in lines:
                self._lines.put(line)
        os._exit(0)


def _limit_memory() -> None:
    """Have an allocation fail rather than the machine, where the system can do that."""
    if sys.platform == "linux":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
