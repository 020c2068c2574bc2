"""Where settings come from: flags over environment over file over defaults. All problems are told at once."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from sidebeam.server.config.config import Config, Rule

PREFIX = "SIDEBEAM_"
SEPARATOR = "__"

Values = dict[tuple[str, str], Any]
"""(section, key) to value."""


class ConfigError(ValueError):
    """The settings cannot be used; `problems` lists everything that is wrong with them."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where one sidecar's settings come from: only the file can change while it runs."""

    file: Path | None
    environment: Mapping[str, str]
    flags: Values

    def read(self) -> Config:
        """The effective settings, as the file says now. Raises ConfigError."""
        return load(self.file, self.environment, self.flags)


def load(file: Path | None, environment: Mapping[str, str], flags: Values) -> Config:
    """The effective settings. Raises ConfigError."""
    problems: list[str] = []
    values = _from_file(file, problems) if file is not None else {}
    values |= _from_environment(environment, problems)
    values |= flags
    sections = {}
    for section in dataclasses.fields(Config):
        kind = get_type_hints(Config)[section.name]
        given = {key: value for (name, key), value in values.items() if name == section.name}
        problems += _violations(section.name, kind, given)
        sections[section.name] = kind(**given)
    if problems:
        raise ConfigError(problems)
    return Config(**sections)


def dump(config: Config) -> str:
    """The settings as the TOML that would give them."""
    lines = []
    for section in dataclasses.fields(config):
        lines.append(f"[{section.name}]")
        for name, value in dataclasses.asdict(getattr(config, section.name)).items():
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")  # JSON's scalars and lists are TOML's
        lines.append("")
    return "\n".join(lines).rstrip()


def _keys(section: str) -> dict[str, Any]:
    return get_type_hints(get_type_hints(Config)[section])


def _sections() -> list[str]:
    return [section.name for section in dataclasses.fields(Config)]


def _from_file(file: Path, problems: list[str]) -> Values:
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: {error}"]) from error
    values: Values = {}
    for section, content in raw.items():
        if section not in _sections():
            problems.append(f"{file}: unknown section [{section}]{_nearest(section, _sections())}")
        elif not isinstance(content, dict):
            problems.append(f"{file}: [{section}] must be a section; given {content!r}")
        else:
            for key, value in content.items():
                kind = _keys(section).get(key)
                if kind is None:
                    problems.append(f"{file}: unknown key {section}.{key}{_nearest(key, _keys(section))}")
                elif not _is_a(value, kind):
                    problems.append(f"{file}: {section}.{key} must be {_named(kind)}; given {value!r}")
                else:
                    values[section, key] = float(value) if kind is float else value
    return values


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Values:
    values: Values = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or SEPARATOR not in name:
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition(SEPARATOR)
        if section not in _sections():
            problems.append(f"{name}: unknown section {section!r}{_nearest(section, _sections())}")
        elif key not in _keys(section):
            problems.append(f"{name}: unknown key {section}.{key}{_nearest(key, _keys(section))}")
        else:
            kind = _keys(section)[key]
            try:
                values[section, key] = _parsed(text, kind)
            except ValueError:
                problems.append(f"{name}: must be {_named(kind)}; given {text!r}")
    return values


def _parsed(text: str, kind: Any) -> Any:
    if kind == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return kind(text)


def _is_a(value: object, kind: Any) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind


def _named(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a text"}
    return words.get(kind, "a list of texts")


def _violations(section: str, kind: Any, given: Mapping[str, Any]) -> list[str]:
    problems = []
    for field in dataclasses.fields(kind):
        rule: Rule = field.metadata.get("rule", Rule())
        value = given.get(field.name)
        if value is None:
            continue
        name = f"{section}.{field.name}"
        if rule.choices and value not in rule.choices:
            problems.append(f"{name} must be one of {', '.join(rule.choices)}; given {value!r}")
        if rule.low is not None and not value >= rule.low:
            problems.append(f"{name} must be at least {rule.low:g}; given {value}")
        if rule.high is not None and not value <= rule.high:
            problems.append(f"{name} must be at most {rule.high:g}; given {value}")
    return problems


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
