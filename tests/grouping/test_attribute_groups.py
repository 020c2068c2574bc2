"""Attribute groups: what belongs together, what is split, and what the rest is called."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from sidebeam.grouping import GroupingError
from sidebeam.grouping.attribute_groups import AttributeSplit, _shared_bits, attribute_groups, usable_attributes
from sidebeam.grouping.attributes import Value

ITEMS: dict[str, dict[str, Value]] = {
    **{f"h{n}": {"brand": "Hearth", "price": float(n)} for n in range(9)},
    **{f"p{n}": {"brand": "Plain/Co", "price": 4.0} for n in range(3)},
    "odd": {"brand": "Odd", "price": 1.0},
    "none": {"price": 2.0},
    "bare": {},
}


def test_a_group_that_is_too_large_is_split_by_the_next_attribute() -> None:
    groups = attribute_groups(ITEMS, AttributeSplit(("brand", "price"), largest=5, smallest=2))
    assert list(groups) == list(ITEMS)
    assert {groups[f"h{n}"] for n in (0, 1, 2)} == {"brand=Hearth/price=low"}
    assert {groups[f"h{n}"] for n in (6, 7, 8)} == {"brand=Hearth/price=high"}
    assert {groups[f"p{n}"] for n in range(3)} == {"brand=Plain%2FCo"}
    assert groups["odd"] == groups["none"] == groups["bare"] == "rest of brand"


def test_a_rest_that_is_too_large_is_split_as_well() -> None:
    groups = attribute_groups(ITEMS, AttributeSplit(("brand", "price"), largest=2, smallest=2))
    assert groups["odd"] == groups["none"] == "rest of brand/price=low"
    assert groups["bare"] == "rest of brand/rest of price"


def test_lists_count_by_their_first_value_and_few_numbers_as_they_are() -> None:
    attributes: dict[str, dict[str, Value]] = {
        "a": {"tags": ("x", "y"), "stars": 4.5},
        "b": {"tags": ("x",), "stars": 5.0},
        "c": {"tags": ("y", "x"), "stars": 5.0},
        "d": {"tags": ("y", "x"), "stars": 5.0},
    }
    groups = attribute_groups(attributes, AttributeSplit(("tags", "stars"), largest=1, smallest=1))
    assert groups == {"a": "tags=x/stars=4.5", "b": "tags=x/stars=5", "c": "tags=y/stars=5", "d": "tags=y/stars=5"}


def test_mutual_information_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    one = random.integers(5, size=300)
    other = np.where(random.random(300) < 0.5, one % 3, random.integers(4, size=300))
    pairs = [{str(n): str(value) for n, value in enumerate(values)} for values in (one, other)]
    assert _shared_bits(*pairs) == pytest.approx(mutual_info_score(one, other) / np.log(2))
    assert _shared_bits({"a": "x"}, {"b": "x"}) == 0


def test_a_category_comes_before_what_says_little() -> None:
    attributes: dict[str, dict[str, Value]] = {
        str(n): {"aisle": f"a{n % 6}", "brand": f"b{n % 6 // 2}{n % 4 // 2}", "new": "yn"[n // 60]} for n in range(120)
    }
    assert usable_attributes(attributes)[0] == "aisle"
    assert usable_attributes(attributes)[-1] == "new"


def test_usable_attributes_are_shared_ones() -> None:
    attributes: dict[str, dict[str, Value]] = {
        str(n): {"title": f"item {n}", "brand": f"b{n % 4}", "aisle": f"a{n % 2}", "one": "same"} for n in range(40)
    }
    attributes["0"]["seldom"] = attributes["1"]["seldom"] = "x"
    assert usable_attributes(attributes) == ("aisle", "brand")
    assert len(set(attribute_groups(attributes, AttributeSplit(largest=10)).values())) == 4


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y/", "=", "%2F"]), max_size=2),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 8),
    st.integers(1, 3),
)
def test_groups_are_a_partition_by_value(attributes: dict[str, dict[str, Value]], largest: int, smallest: int) -> None:
    split = AttributeSplit(("a", "b"), largest, smallest)
    if not all(any(name in values for values in attributes.values()) for name in "ab"):
        with pytest.raises(GroupingError):
            attribute_groups(attributes, split)
        return
    groups = attribute_groups(attributes, split)
    sizes = Counter(groups.values())
    for one in attributes:
        for other in attributes:
            if attributes[one] == attributes[other]:
                assert groups[one] == groups[other]
    for group, size in sizes.items():
        steps = group.split("/")
        assert size <= largest or len(steps) == 2  # whatever is too large was split by everything there is
        members = [attributes[entity] for entity in groups if groups[entity] == group]
        for name, step in zip("ab", steps, strict=False):
            if "=" in step:  # all members have the value that the name tells
                assert len({values[name] for values in members}) == 1


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (lambda: AttributeSplit(largest=0), "--largest must be at least 1; given 0"),
        (lambda: AttributeSplit(smallest=0), "--smallest must be at least 1; given 0"),
        (lambda: attribute_groups(ITEMS, AttributeSplit(("colour",))), "given 'colour', there are brand, price"),
        (lambda: attribute_groups({"a": {"t": "x"}}, AttributeSplit()), "none can be chosen"),
    ],
)
def test_bad_splits(split: object, says: str) -> None:
    with pytest.raises(GroupingError, match=says):
        split()  # type: ignore[operator]
