"""One hash for all hash tables here."""

from __future__ import annotations

from sidebeam.knowledge.compiled import bare


@bare
def mix(a: int, b: int) -> int:
    """Spreads a pair of numbers over 31 bits."""
    mixed = (a * 0x9E3779B1 + b * 0x85EBCA77) & 0x7FFFFFFF
    return mixed ^ (mixed >> 15)
