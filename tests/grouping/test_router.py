"""The router's three ways."""

from __future__ import annotations

import pytest

from sidebeam.grouping import GLOBAL, GroupingError, Router


def test_interactions_decide_between_the_two_kinds() -> None:
    near, alike = {"a": "near 0", "b": "near 1", "c": "near 0"}, {"b": "brand=x", "d": "brand=y"}
    router = Router(near, alike, {"a": 10, "b": 9, "c": 9, "d": 50})
    assert router.route("a") == "near 0"
    assert router.route("b") == "brand=x"  # below the threshold
    assert router.route("c") == GLOBAL  # below it, without attributes
    assert router.route("d") == "brand=y"  # above it, without a vector
    assert router.route("nobody") == GLOBAL
    assert router.groups(["d", "a"]) == {"d": "brand=y", "a": "near 0"}
    assert Router(near, alike, {"b": 9}, threshold=9).route("b") == "near 1"
    assert Router(near, alike, {}, threshold=0).route("b") == "near 1"


def test_a_bad_threshold() -> None:
    with pytest.raises(GroupingError, match="--threshold must be at least 0; given -1"):
        Router(threshold=-1)
