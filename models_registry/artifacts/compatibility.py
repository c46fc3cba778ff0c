"""Finds the changes in another version's schema that would break the clients of this version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN_NAMES = 6
# By type: other types that clients may send, in addition to the type itself.
ALSO_TAKES = {"float": {"integer"}, "string": {"datetime"}}


def caller_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the changes that concern a client of the version with schema `before`, one sentence each.

    Both schemas are in the registry's stored form. The list is empty if `after` accepts every request that `before`
    accepts, and responds in the same form.
    """
    old = {item["name"]: item for item in before.get("inputs", ())}
    new = {item["name"]: item for item in after.get("inputs", ())}
    found = []
    if added := [name for name in new if name not in old]:
        found.append(f"It takes {_listed(added)}, which the active version does not.")
    if removed := [name for name in old if name not in new]:
        found.append(f"It no longer takes {_listed(removed)}.")
    if not added and not removed and list(old) != list(new):
        found.append("It takes its inputs in another order, so rows without names mean something else.")
    found += [sentence for name in new if name in old for sentence in _input_changes(name, old[name], new[name])]
    if (kind := before.get("kind")) != after.get("kind"):
        found.append(f"It is a {after.get('kind')}; the active version is a {kind}.")
    elif before.get("outputs") != after.get("outputs"):
        found.append(f"It has {after.get('outputs')} outputs; the active version has {before.get('outputs')}.")
    if lost := [name for name in before.get("methods", ()) if name not in after.get("methods", ())]:
        found.append(f"It does not offer {_listed(lost)}.")
    return found


def _input_changes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    if new["type"] not in (old["type"], "any") and old["type"] not in ALSO_TAKES.get(new["type"], ()):
        found.append(f"{name!r} has the type {new['type']}; the active version takes {old['type']}.")
    if old.get("nullable") and not new.get("nullable"):
        found.append(f"{name!r} may no longer be null.")
    if old.get("optional") and not new.get("optional"):
        found.append(f"{name!r} may no longer be omitted.")
    if new.get("closed"):
        refused = [value for value in old.get("categories") or () if value not in new["categories"]]
        if not old.get("closed"):
            found.append(f"{name!r} takes only its trained categories; the active version takes any value.")
        elif refused:
            found.append(f"{name!r} no longer takes {_listed(refused)}.")
    return found


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN_NAMES])
    return f"{shown} and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else shown
