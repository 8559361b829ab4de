"""Making HTML that is escaped by default: a plain string is text, only :class:`Html` is markup."""

from __future__ import annotations

import html
from collections.abc import Iterable

_KEPT = "\u200c\u200d\u00a0"
"""Not printable by their Unicode category, yet part of words, emoji and numbers: joiners, no-break space."""

_VOID = frozenset({"meta", "img", "br", "hr"})


class Html(str):
    """Text that already is markup and is not escaped again."""


def clean(text: object) -> str:
    """``text`` on one line, with control, bidirectional and surrogate characters written as escapes.

    File and class names are user data: they must neither break the encoding nor steer a terminal.
    """
    return "".join(_character(c) for c in str(text))


def _character(c: str) -> str:
    if c.isprintable() or c in _KEPT:
        return c
    return " " if c.isspace() else c.encode("unicode_escape").decode("ascii")


def escape(text: object) -> Html:
    """``text`` as inert markup; an :class:`Html` passes unchanged."""
    return text if isinstance(text, Html) else Html(html.escape(clean(text)))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Parts one after another, each escaped unless it is markup; None is left out."""
    return Html(separator.join(escape(part) for part in parts if part is not None))


def el(tag: str, *children: object, **attributes: object) -> Html:
    """An element: ``el("td", "a < b", class_="num", data_x="1")``.

    A trailing underscore in an attribute's name is dropped, others become hyphens; None and False leave
    the attribute out, True writes it without a value.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(children)}</{tag}>")


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(clean(value))}"'


def json_block(identifier: str, text: str) -> Html:
    """A block of JSON that scripts read and the browser does not run.

    ``<`` is written as a JSON escape, so no string in it can end the block or open a comment.
    """
    inert = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{inert}</script>')
