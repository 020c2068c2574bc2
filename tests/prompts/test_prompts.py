"""Templates are data: what they say is what prompts hold, nothing in them is run, and what they lack is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidebeam.grouping import UserLog
from sidebeam.grouping.attributes import Value
from sidebeam.prompts import PromptError, Template, copy_templates, item_prompts, open_template, user_prompts
from sidebeam.prompts.substitution import fields, filled

ITEMS: dict[str, dict[str, Value]] = {
    "1": {"title": "Oak Table", "brand": "Hearth", "price": 12.5, "tags": ("wood", "large")},
    "2": {"title": "{brand} of\n {id}", "brand": "Osk"},
    "3": {"brand": "Osk", "price": 3.0},
    "4": {},
}


def _user(**changes: object) -> Template:
    return Template("t.toml", "user", **{"prompt": "{id} chose {count}: {history}.", **changes})  # type: ignore[arg-type]


def _item(prompt: str, **changes: object) -> Template:
    return Template("t.toml", "item", prompt, **changes)  # type: ignore[arg-type]


def test_a_history_is_the_latest_known_items() -> None:
    logs = [UserLog("u", ("2", "1", "2", "1"), ("1",), ("1",)), UserLog("new", (), ("1",))]
    template = _user(entry='"{title}" by {brand}', max_history=3, separator="; ")
    shown = '"Oak Table" by Hearth; "{brand} of {id}" by Osk; "Oak Table" by Hearth'
    assert list(user_prompts(template, logs, ITEMS)) == [("u", f"u chose 3: {shown}.")]


def test_users_without_items_are_left_out_unless_the_template_says_what_then() -> None:
    logs = [UserLog("new", ())]
    assert list(user_prompts(_user(), logs, ITEMS)) == []
    assert list(user_prompts(_user(nothing="not a thing"), logs, ITEMS)) == [("new", "new chose 0: not a thing.")]


def test_items_show_their_attributes_by_name_and_all_others_in_a_list() -> None:
    prompts = dict(item_prompts(_item("{id} {title}: {attributes}", missing="?"), ITEMS, ITEMS))
    assert prompts["1"] == "1 Oak Table: brand: Hearth, price: 12.5, tags: wood, large"
    assert prompts["2"] == "2 {brand} of {id}: brand: Osk"  # braces in a value are text, on one line
    assert prompts["3"] == "3 ?: brand: Osk, price: 3"
    assert prompts["4"] == "4 ?: nothing"


def test_an_item_without_an_attribute_is_named() -> None:
    with pytest.raises(PromptError, match=r"t\.toml: item '3' has no title; give it one, or .* missing = \"unknown\""):
        list(item_prompts(_item("{title}"), ["1", "3"], ITEMS))
    with pytest.raises(PromptError, match="item '3' of user 'u' has no title"):
        list(user_prompts(_user(), [UserLog("u", ("3",))], ITEMS))
    with pytest.raises(PromptError, match="item '99' of user 'u' has no title"):
        list(user_prompts(_user(), [UserLog("u", ("99",))], ITEMS))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: list(item_prompts(_item("{colour}", missing="?"), ["1"], ITEMS)),
            "t.toml, prompt: no item has 'colour'; there are id, attributes, brand, price, tags, title",
        ),
        (lambda: list(user_prompts(_user(entry="{size}"), [], ITEMS)), "t.toml, entry: no item has 'size'"),
        (
            lambda: _user(prompt="{history} {title}"),
            "t.toml, prompt: no field 'title'; a user's prompt has history, id",
        ),
        (lambda: _user(prompt="likes"), "t.toml, prompt: must hold {history}"),
        (lambda: _user(max_history=0), "t.toml, max_history: must be at least 1; given 0"),
    ],
)
def test_bad_fields(make: object, says: str) -> None:
    with pytest.raises(PromptError, match=re.escape(says)):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("attack", ["{title!r}", "{title:>9999999}", "{0}", "{title[0]}", "{__import__('os')}"])
def test_what_is_no_field_stands_for_itself(attack: str) -> None:
    assert dict(item_prompts(_item(attack), ["1"], ITEMS)) == {"1": attack}


def test_nothing_in_a_template_is_run() -> None:
    assert dict(item_prompts(_item("{{title}} ${title}"), ["1"], ITEMS)) == {"1": "{title} $Oak Table"}
    with pytest.raises(PromptError, match=r"no item has 'title\.__class__'"):
        list(item_prompts(_item("{title.__class__}", missing="?"), ["1"], ITEMS))


@given(st.text(alphabet='{}a "b:', max_size=30), st.text(max_size=5))
def test_substitution_changes_fields_and_nothing_else(text: str, value: str) -> None:
    names = list(fields(text))
    result = filled(text, dict.fromkeys(names, value))
    bare = text.replace("{{", "").replace("}}", "")
    if not names and bare == text:
        assert result == text
    if "{{" not in text and "}}" not in text:
        expected = text
        for name in set(names):
            expected = expected.replace("{" + name + "}", value) if "{" not in value and "}" not in value else result
        assert result == expected


def test_json_in_a_template_stays_as_it_is() -> None:
    template = _item('Answer as {"summary": "...", "of": "{title}"}.')
    assert dict(item_prompts(template, ["1"], ITEMS))["1"] == 'Answer as {"summary": "...", "of": "Oak Table"}.'


def test_the_package_has_templates_of_both_kinds() -> None:
    user, item = open_template("user"), open_template("item")
    ((_, asked),) = user_prompts(user, [UserLog("u", tuple("12" * 40))], ITEMS)
    assert asked.count('"Oak Table"') == user.max_history / 2
    assert not asked.startswith("\n")
    assert dict(item_prompts(item, ["1"], ITEMS))["1"].startswith('Here is an item of a shop: "Oak Table".')


def test_copies_can_be_edited_and_are_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "templates"
    paths = copy_templates(folder)
    assert [path.name for path in paths] == ["user.toml", "item.toml"]
    assert open_template("user", folder).prompt == open_template("user").prompt
    paths[1].write_text('prompt = "What is {title}?"\nmissing = "this"\n')
    assert dict(item_prompts(open_template("item", folder), ["3"], ITEMS))["3"] == "What is this?"
    with pytest.raises(PromptError, match=r"user\.toml: there already"):
        copy_templates(folder)
    assert paths[1].read_text().startswith('prompt = "What is')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the key 'prompt' is missing"),
        ("prompt = 'a", "item.toml: "),
        ("prompt = 'a'\nmax_hist = 2", "unknown key 'max_hist'; did you mean 'max_history'?"),
        ("prompt = 'a'\nmax_history = '2'", "max_history: must be of type int; given '2'"),
        ("prompt = 'a'\nmax_history = true", "max_history: must be of type int; given True"),
        ("prompt = 3", "prompt: must be of type str; given 3"),
        ("prompt = 'a'\nkind = 'user'", "unknown key 'kind'"),
    ],
)
def test_bad_template_files(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "item.toml").write_text(text)
    with pytest.raises(PromptError, match=re.escape(says)) as error:
        open_template("item", tmp_path)
    assert str(tmp_path / "item.toml") in str(error.value)


def test_a_folder_without_templates(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"user\.toml: cannot be read: No such file"):
        open_template("user", tmp_path)
