"""A failed call, told to a person."""

from __future__ import annotations

from sidebeam.client import InvalidRequest, SidebeamError, TryAgain


def explain(subcommand: str, error: SidebeamError) -> str:
    """What went wrong, a line for each field at fault, with the request's id."""
    violations = error.violations if isinstance(error, InvalidRequest) else ()
    request = f" (request {error.request_id})" if error.request_id else ""
    if not violations:
        retry_after_s = error.retry_after_s if isinstance(error, TryAgain) else None
        hint = f"; try again in {retry_after_s:g} s" if retry_after_s is not None else ""
        return f"sidebeam {subcommand}: {error.code.name}: {error}{hint}{request}"
    head = f"sidebeam {subcommand}: {error.code.name}{request}"
    return "\n".join([head, *(f"  {violation}" for violation in violations)])
