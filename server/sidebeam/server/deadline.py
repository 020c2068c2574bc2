"""How much of a caller's deadline is kept to tell it what went wrong."""

from __future__ import annotations

MARGIN_S = 0.05
MARGIN_SHARE = 0.1  # at most this share of it
UNREAD_S = 1.0  # beyond it: whoever has not read an answer by then, no longer keeps others waiting


def margin_s(remaining: float) -> float:
    """Of what remains of a deadline, in seconds."""
    return min(MARGIN_S, MARGIN_SHARE * remaining)
