"""An HTML page that asks for nothing: its style is in it, and it refuses whatever would come from outside."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib import resources

ALLOWED = "default-src 'none'; style-src 'unsafe-inline'"  # a browser would refuse anything from outside


def document(title: str, parts: Iterable[str], style: str = "") -> str:
    """The whole page: `title` is plain text, `parts` are HTML, `style` is CSS beyond the shared one."""
    shared = resources.files("sidebeam.page").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{ALLOWED}">\n'
        f"<style>\n{shared}{style}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )
