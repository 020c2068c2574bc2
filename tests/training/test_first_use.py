"""A folder of a first use is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidebeam.training.first_use import made_once


def _broken(error: BaseException) -> object:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("a li")
        raise error

    return fill


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full"), SystemExit(1)])
def test_an_interrupted_or_failed_first_use_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        made_once(tmp_path / "made", tmp_path / ".lock", _broken(error))
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]
    whole = made_once(tmp_path / "made", tmp_path / ".lock", lambda folder: (folder / "all").touch())
    assert [each.name for each in whole.iterdir()] == ["all"]
    assert made_once(whole, tmp_path / ".lock", _broken(error)) == whole
