"""Whom the knowledge demo asks about: nobody twice, as many as there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidebeam.command.subject import Cast


def _bundle(folder: Path, count: int) -> Path:
    lines = (json.dumps({"entity": f"u{n}", "prompt": f"About {n}:"}) for n in range(count))
    (folder / "prompts-users-new.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "groups.json").write_text(json.dumps({f"u{n}": f"near {n % 3}" for n in range(0, count, 2)}))
    return folder


@pytest.mark.parametrize("count", [1, 7, 12, 389, 389 * 397, 2000])
def test_nobody_is_asked_about_twice(tmp_path: Path, count: int) -> None:
    cast = Cast.of(_bundle(tmp_path, count), "users", shown=2, compared=6, others=5)
    everybody = [*cast.shown, *cast.compared, *cast.others]
    assert len({each.entity for each in everybody}) == len(everybody) == min(count, 13)
    assert len(cast.shown) == min(2, count)
    for each in everybody:
        number = int(each.entity.removeprefix("u"))
        assert each.prompt == f"About {number}:"
        assert each.group == (None if number % 2 else f"near {number % 3}")


def test_neighbours_of_the_file_are_not_neighbours_in_the_demo(tmp_path: Path) -> None:
    cast = Cast.of(_bundle(tmp_path, 2000), "users", shown=2, compared=6, others=5)
    numbers = [int(each.entity.removeprefix("u")) for each in (*cast.shown, *cast.compared, *cast.others)]
    assert min(abs(a - b) for at, a in enumerate(numbers) for b in numbers[:at]) > 30
