"""`python -m bufaudit`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # `python -m` looks for modules in the current folder first, and that is what is scanned more often than not.
    _home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and sys.path[0] != _home:
        del sys.path[0]

    from bufaudit.cli import main

    main()
