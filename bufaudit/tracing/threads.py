"""Threads that a path starts work for the rank that started them, and are recorded as it is."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from torch.testing._internal.distributed import multi_threaded_pg

from bufaudit.tracing.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.tracing.provenance import Ledger
    from bufaudit.tracing.ranks import Ranks


@contextmanager
def recorded_threads(ranks: Ranks, ledger: Ledger) -> Iterator[None]:
    """Threads that a rank starts meanwhile have its modes and its place in the process group."""
    start = threading.Thread.start
    worlds = multi_threaded_pg.ThreadLocalWorld._world

    def start_recorded(thread: threading.Thread) -> None:
        rank = ranks.rank_or_none
        if rank is not None:
            run, world = thread.run, getattr(worlds, "world", None)

            def recorded() -> None:
                if world is not None:
                    worlds.world = world
                with ranks.helping(rank), Recorder(ledger):
                    run()

            helper: Any = thread
            helper.run = recorded
        start(thread)

    with mock.patch.object(threading.Thread, "start", start_recorded):
        yield
