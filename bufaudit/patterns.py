"""Regular expressions that are compiled when they are first used: no run needs all that there are."""

from __future__ import annotations

import re
from typing import Any, AnyStr


class _Pattern:
    """Stands for a compiled pattern, whose methods it takes over as they are asked for."""

    def __init__(self, expression: Any, flags: int) -> None:
        self._expression = expression
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._expression, self._flags), name)
        setattr(self, name, method)
        return method


def lazy_pattern(expression: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """What `re.compile` gives, but later."""
    stand_in: Any = _Pattern(expression, flags)
    return stand_in  # type: ignore[no-any-return]
