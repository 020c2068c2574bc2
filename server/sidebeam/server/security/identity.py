"""Who calls: told by a token, else by the client's certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sidebeam.server.refusals.refusal import unauthenticated
from sidebeam.server.security.tenant import ANYBODY, Tenant
from sidebeam.server.security.tenants_file import FIT, NAME_RULE, Tenants

HEADER = "authorization"
SCHEME = "bearer"
SHOWN = 80  # characters of a certificate's name in a message


class Identity:
    """Tells the tenant of a call.

    With a tenants file only those are let in that it knows. Without one, a client's certificate, which an authority of
    ours has signed, names the tenant, and whoever need not show one is anybody.
    """

    def __init__(self, tenants: Callable[[], Tenants] | None) -> None:
        self._tenants = tenants

    def of(self, context: Any) -> Tenant:
        """The tenant of a call. Raises Refusal, UNAUTHENTICATED, if there is none."""
        names = certificate_names(context.auth_context())
        if self._tenants is None:
            return _named(names[0]) if names else ANYBODY
        tenants = self._tenants()
        headers = [value for key, value in context.invocation_metadata() or () if key == HEADER]
        if headers:  # one that is wrong is not made good by a certificate: the caller means to be someone else
            return _by_token(headers, tenants)
        return _by_certificate(names, tenants)


def certificate_names(auth: Mapping[str, Iterable[bytes]]) -> Sequence[str]:
    """A verified client certificate's alternative names, its common name if it has none; empty without one."""
    names = auth.get("x509_subject_alternative_name") or auth.get("x509_common_name") or ()
    return [name.decode("utf-8", "replace") for name in names]


def _by_token(headers: Sequence[str | bytes], tenants: Tenants) -> Tenant:
    scheme, _, token = str(headers[0]).partition(" ")
    if len(headers) > 1 or scheme.lower() != SCHEME or not token:
        raise unauthenticated("MALFORMED_TOKEN", f"the metadata must hold {HEADER!r} once, as 'Bearer TOKEN'")
    tenant = tenants.of_token(token.strip())
    if tenant is None:
        raise unauthenticated("UNKNOWN_TOKEN", "the token is no tenant's")
    return tenant


def _by_certificate(names: Sequence[str], tenants: Tenants) -> Tenant:
    if not names:
        message = f"the call does not say whose it is: its metadata must hold {HEADER!r}, 'Bearer TOKEN'"
        raise unauthenticated("NO_IDENTITY", message)
    found = tenants.of_certificate(names)
    if not found:
        raise unauthenticated("UNKNOWN_TENANT", f"the client certificate of {_shown(names)} is no tenant's")
    if len(found) > 1:
        said = " and ".join(sorted(tenant.name for tenant in found))
        message = f"the client certificate of {_shown(names)} belongs to several tenants, {said}"
        raise unauthenticated("UNKNOWN_TENANT", message)
    return found.pop()


def _named(name: str) -> Tenant:
    if not FIT.fullmatch(name):
        message = f"the client certificate's name must be {NAME_RULE}; given {_shown([name])}"
        raise unauthenticated("UNKNOWN_TENANT", message)
    return Tenant(name)


def _shown(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")
