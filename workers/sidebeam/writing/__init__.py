"""Texts of users and items, written from prompts and drafted from pools of earlier ones: in process, and as a job.

Importing this package is cheap: modules that need torch are imported by those who use them.
"""

from sidebeam.writing.error import WritingError

__all__ = ["WritingError"]
