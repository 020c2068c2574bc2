"""The errors of this package."""

from __future__ import annotations


class KnowledgeError(Exception):
    """What the user gave cannot be used. The message names the file, the place in it, the value and the limit."""


class PoolError(KnowledgeError):
    """A pool cannot be read, or must not be: damaged, cut short, of another tokenizer, or being written by another."""
