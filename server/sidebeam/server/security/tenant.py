"""On whose behalf a call is made."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tenant:
    """`name` is fit for logs and metrics; that of ANYBODY is empty."""

    name: str


ANYBODY = Tenant("")
"""The tenant of every call to a server that asks nobody who they are."""

_current: ContextVar[Tenant] = ContextVar("sidebeam_tenant", default=ANYBODY)


def begin(tenant: Tenant) -> None:
    """Make this the tenant of the running call; every call has a context of its own."""
    _current.set(tenant)


def current() -> Tenant:
    """The tenant of the running call."""
    return _current.get()
