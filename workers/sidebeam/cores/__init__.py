"""The cores that a process may use, which in a container are not the node's."""

from sidebeam.cores.usable import usable_cores

__all__ = ["usable_cores"]
