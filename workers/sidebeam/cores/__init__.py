"""The cores that a process may use, which in a container are not the node's, and who goes first on them."""

from sidebeam.cores.niceness import give_way
from sidebeam.cores.usable import usable_cores

__all__ = ["give_way", "usable_cores"]
