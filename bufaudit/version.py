"""The version, and what tells one build of the code from another."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from zlib import crc32

__version__ = "0.1.0"


@cache
def build_id() -> str:
    """What tells the code that makes facts, and the Python that parses: facts of another build are not reused."""
    package = Path(__file__).resolve().parent
    checksum = 0
    for path in sorted((*(package / "source").glob("*.py"), package / "codec.py")):
        checksum = crc32(path.read_bytes(), checksum)
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{__version__}-{python}-{checksum:08x}"
