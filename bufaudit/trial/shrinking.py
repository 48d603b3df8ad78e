"""stub"""
from typing import NamedTuple, Any
class Small(NamedTuple):
    config: Any
    notes: tuple = ()
def shrunk(model_class, config, pinned):
    return Small(config)
