"""Which entities share a knowledge pool: groups of users or items, by what they did or by what they are (LASER).

Importing this package is cheap: modules that need torch or scikit-learn are imported by those who use them.
"""

from sidebeam.grouping.attributes import Attributes, read_attributes
from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.groups_file import read_groups, write_groups
from sidebeam.grouping.interactions import UserLog, read_logs
from sidebeam.grouping.router import GLOBAL, Router

__all__ = [
    "GLOBAL",
    "Attributes",
    "GroupingError",
    "Router",
    "UserLog",
    "read_attributes",
    "read_groups",
    "read_logs",
    "write_groups",
]
