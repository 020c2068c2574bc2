"""One log stream and one format for the front server and its workers. No torch."""

from sidebeam.logs.logs import FORMATS, LEVELS, configure

__all__ = ["FORMATS", "LEVELS", "configure"]
