"""Converts Markdown of untrusted authors to safe HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s", "a", "ul", "ol", "li"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
# The page has the model's name as h1, so the card's headings start at h2.
LEVELS_DOWN = 2


def render_markdown(text: str) -> SafeString:
    """Return CommonMark with tables as HTML: no raw HTML, no scripts, and images as their alternative text.

    An image would be loaded from another site, which could track the reader.
    """
    # Imported here: a worker that only serves needs neither library.
    import nh3
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

    def show_alternative(_: RendererHTML, tokens: Sequence[Token], index: int, *rest: Any) -> str:
        return escape(tokens[index].content)

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", show_alternative)
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + LEVELS_DOWN, 6)}"
    html = parser.renderer.render(tokens, parser.options, {})
    # The parser already escapes HTML; the sanitizer is a second line of defence.
    cleaned = nh3.clean(
        html, tags=TAGS, attributes=ATTRIBUTES, url_schemes=SCHEMES, link_rel="noopener noreferrer nofollow"
    )
    return mark_safe(cleaned)  # noqa: S308  # it is what the cleaner let through
