"""Files of prompts: `{"entity": id, "prompt": text}` per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.lines import read_lines
from sidebeam.prompts.error import PromptError


def write_prompts(path: Path, prompts: Iterable[tuple[str, str]]) -> int:
    """Writes a file, whole or not at all, and returns how many prompts it holds.

    Raises `PromptError` if it cannot be written or there are none; what stood there then still does.
    """
    partial = path.with_name(f".{path.name}.partial")
    written = 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for entity, prompt in prompts:
                file.write(json.dumps({"entity": entity, "prompt": prompt}, ensure_ascii=False) + "\n")
                written += 1
        if not written:
            raise PromptError(f"{path}: there is no entity to write a prompt for")
        os.replace(partial, path)
    except OSError as error:
        raise PromptError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return written


def read_prompts(path: Path) -> dict[str, str]:
    """The prompt of each entity, in file order.

    Raises `PromptError` naming file, line and value for what is no such line, and for a repeated entity.
    """
    prompts: dict[str, str] = {}
    try:
        for line in read_lines(path):
            entity = line.identifier("entity")
            if entity in prompts:
                raise PromptError(f"{line.place}: entity {entity!r} stands in the file twice")
            prompts[entity] = line.text("prompt")
    except GroupingError as error:
        raise PromptError(str(error)) from None
    return prompts
