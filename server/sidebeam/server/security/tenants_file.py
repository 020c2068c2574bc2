"""The file that says who the tenants are: a section for each, with hashes of its tokens and names of its certificates.

[shop-a]
tokens = ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
certificates = ["shop-a.example.com", "spiffe://example.com/shop-a"]
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sidebeam.server.security.tenant import Tenant

KEYS = ("tokens", "certificates")
FIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,63}")
NAME_RULE = "1 to 64 letters, digits and . _ : / @ -, beginning with a letter or a digit"

K = TypeVar("K")

_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class TenantsError(ValueError):
    """The file cannot be used; the message names it and everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Tenants:
    """Who is known. Tokens are long and random, so that a hash without salt or rounds tells nothing about them."""

    by_certificate: Mapping[str, Tenant]
    by_token: tuple[tuple[bytes, Tenant], ...]  # SHA-256 of the token

    def of_token(self, token: str) -> Tenant | None:
        """All hashes are compared, each in constant time: how long it takes says nothing about any of them."""
        given = hashlib.sha256(token.encode()).digest()
        found = None
        for known, tenant in self.by_token:
            if hmac.compare_digest(given, known):
                found = tenant
        return found

    def of_certificate(self, names: Iterable[str]) -> set[Tenant]:
        """Those that any of a certificate's names belongs to."""
        return {tenant for name in names if (tenant := self.by_certificate.get(name)) is not None}


def read_tenants(file: Path) -> Tenants:
    """Raises TenantsError with all problems at once."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise TenantsError(f"tenants.file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TenantsError(f"tenants.file {file}: {error}") from error
    problems = [] if raw else ["names no tenant"]
    tokens: dict[bytes, Tenant] = {}
    certificates: dict[str, Tenant] = {}
    for name, section in raw.items():
        tenant, found = Tenant(name), _problems(name, section)
        problems += found
        if found:
            continue
        for i, text in enumerate(section.get("tokens", ())):
            digest = bytes.fromhex(_hash(text))
            _claim(tokens, digest, tenant, f"{name}.tokens[{i}]", problems)
        for i, text in enumerate(section.get("certificates", ())):
            _claim(certificates, text, tenant, f"{name}.certificates[{i}]", problems)
    if problems:
        raise TenantsError(f"tenants.file {file}: " + "; ".join(problems))
    return Tenants(certificates, tuple(tokens.items()))


def _problems(name: str, section: object) -> list[str]:
    """What is wrong with one tenant."""
    if not FIT.fullmatch(name):
        return [f"a tenant's name must be {NAME_RULE}; given {name!r}"]
    if not isinstance(section, dict):
        return [f"[{name}] must be a section; given a {type(section).__name__}"]  # never its value: it may be a token
    problems = []
    for key, values in section.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYS)}"
            problems.append(f"unknown key {name}.{key}; {hint}")
        elif not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
            problems.append(f"{name}.{key} must be a list of texts")
        elif key == "tokens":
            problems += [
                f"{name}.tokens[{i}] must be 'sha256:' and 64 hexadecimal digits, never the token itself"
                for i, each in enumerate(values)
                if not _hash(each)
            ]
    if not problems and not any(section.values()):
        problems.append(f"[{name}] has neither tokens nor certificates: nobody can be it")
    return problems


def _hash(text: str) -> str:
    found = _HASH.fullmatch(text)
    return "" if found is None else found[1]


def _claim(owners: dict[K, Tenant], key: K, tenant: Tenant, path: str, problems: list[str]) -> None:
    owner = owners.setdefault(key, tenant)
    if owner != tenant:
        problems.append(f"{path} is also one of {owner.name}'s: it must be one tenant's alone")
