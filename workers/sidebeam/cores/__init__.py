"""The cores that a process may use, which in a container are not the node's, and who goes first on them."""

from sidebeam.cores.niceness import give_way
from sidebeam.cores.usable import FRONT, target_threads, usable_cores

__all__ = ["FRONT", "give_way", "target_threads", "usable_cores"]
