"""Template filters for times, sizes, digests, states and forms."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from models_registry.artifacts.features import Feature
from models_registry.markdown import render_markdown
from models_registry.models import State
from models_registry.monitoring.state import ACT, FINE, WATCH
from models_registry.monitoring.usage import Usage

register = template.Library()

NOTHING = SafeString("–")
BADGES = {
    State.FOUND: "info",
    State.CHECKING: "info",
    State.READY: "success",
    State.REJECTED: "danger",
    State.MISSING: "warning",
    State.DELETED: "default",
    "loading": "info",
    "serving": "success",
    "failed": "danger",
    "unloaded": "info",
    FINE: "success",
    WATCH: "warning",
    ACT: "danger",
}


register.filter("markdown", render_markdown)


@register.filter
def moment(value: datetime | None) -> SafeString:
    """Return a time to the second, in UTC."""
    if value is None:
        return NOTHING
    at = value.astimezone(UTC)
    return format_html('<time datetime="{}">{} UTC</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S"))


@register.filter
def ago(value: datetime | None) -> SafeString:
    """Return a time that registry.js updates as "12 s ago"; without JavaScript, the time itself."""
    if value is None:
        return NOTHING
    at = value.astimezone(UTC)
    text = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html('<time datetime="{}" title="{}" data-ago>{}</time>', at.isoformat(), text, text)


@register.filter
def size(size_bytes: float | None) -> str:
    """Return a number of bytes in a suitable unit, with ≈ if it is rounded: 1 MB is 1,000,000 bytes."""
    if size_bytes is None:
        return "–"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return _rounded(size_bytes, factor, unit)
    return f"{size_bytes:.0f} bytes"


@register.filter
def seconds(value: float | None) -> str:
    """Return a duration in a suitable unit, with ≈ if it is rounded."""
    if value is None:
        return "–"
    if value < 0.001:
        return _rounded(value, 1e-6, "µs")
    return _rounded(value, 1e-3, "ms") if value < 1 else _rounded(value, 1, "s")


@register.filter
def percent(share: float | None) -> str:
    """Return a share from 0 to 1 as a percentage."""
    return "–" if share is None else f"{100 * share:.3g} %"


@register.filter
def latency(usage: Usage, share: float) -> str:
    """Return a latency quantile with three digits, because a histogram is not more exact."""
    found = usage.latency_quantile(share)
    return "–" if found is None else f"{1000 * found:.3g} ms"


def _rounded(value: float, factor: float, unit: str) -> str:
    """Return `value` in a unit of `factor` with three digits; ≈ marks a rounded value."""
    amount = value / factor
    text = f"{amount:.3g}" if abs(amount) < 1000 else f"{amount:,.0f}"
    is_exact = math.isclose(float(text.replace(",", "")) * factor, value, rel_tol=1e-12)
    return f"{'' if is_exact else '≈ '}{text} {unit}"


@register.filter
def short_digest(digest: str) -> SafeString | str:
    """Return the first 12 digits, with the whole digest as tooltip."""
    return format_html('<code title="SHA-256 {}">{}</code>', digest, digest[:12]) if digest else "–"


@register.filter
def number(value: object) -> str:
    """Return a metric with all its digits."""
    return str(value)


@register.filter
def compact(value: float) -> str:
    """Return a number with at most four significant digits."""
    return f"{value:.4g}"


@register.filter
def badge(state: str) -> str:
    """Return the colour of a state's label."""
    return BADGES.get(state, "default")


@register.filter
def as_json(value: object) -> str:
    """Return a value as JSON, as in a request."""
    return json.dumps(value, ensure_ascii=False)


@register.filter
def form_of(runs: Mapping[str, Any] | None) -> str:
    """Return the form in which a replica serves the version."""
    return str((runs or {}).get("form") or "native")


@register.filter
def form_text(runs: Mapping[str, Any] | None) -> str:
    """Return the verification and speedup of that form, or why there is no compiled one; empty without either."""
    return str((runs or {}).get("text") or "")


@register.filter
def values_text(feature: dict[str, Any]) -> str:
    """Return a description of a feature's allowed values."""
    return Feature.from_json(feature).expected()


@register.filter
def tag_texts(tags: Any) -> list[str]:
    """Return tags as texts: those of an object as `name: value`."""
    return [f"{name}: {value}" for name, value in tags.items()] if isinstance(tags, dict) else list(tags)
