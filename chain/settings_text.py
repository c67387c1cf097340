"""Settings as people read them: every key with its type, bounds and default, from the types alone.

`keys_of` lists them, `example` writes a file with a comment above every key, `table` a page's
table.  All read the JSON schema that msgspec makes of the types, so none can say anything else
than what is checked.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

REQUIRED = object()
"""The default of a key that has none."""

_WRAP = 100


class Key(NamedTuple):
    """One key of a settings file."""

    path: tuple[str, ...]  # () is never one; a list's items stand under "[]"
    type: str  # type and bounds, in words
    default: Any  # as JSON has it, or REQUIRED
    text: str  # what it is for; "" if nobody said
    example: Any  # UNSET: none
    section: bool  # it has keys of its own


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a settings file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}


def keys_of(kind: type[msgspec.Struct]) -> tuple[Key, ...]:
    """Every key, a section before its keys, in the order of the types."""
    schema = msgspec.json.schema(kind)
    definitions = schema.get("$defs", {})
    return tuple(_walk(_resolved(schema, definitions), definitions, ()))


def example(kind: type[msgspec.Struct], said: Mapping[str, Any] | None = None) -> str:
    """A file that sets nothing but what has to be said and `said`; all else is commented out.

    Comments begin with `## `.  A key behind a lone `#` shows its default, or an example where the
    default is to say nothing; take the `#` away to set it.

    Args:
        said: top key -> value, in YAML's plain types.
    """
    said = said or {}
    lines: list[str] = []
    live: set[tuple[str, ...]] = {()}  # sections that are not commented out
    shown_whole: tuple[str, ...] | None = None
    for key in keys_of(kind):
        if shown_whole is not None and key.path[: len(shown_whole)] == shown_whole:
            continue
        indent, name, top = "  " * (len(key.path) - 1), key.path[-1], key.path[0]
        whole = not key.section or key.example is not msgspec.UNSET or top in said
        shown_whole = key.path if key.section and whole else None
        lines += ["", *_comment(key, indent)] if len(key.path) == 1 else _comment(key, indent)
        if len(key.path) == 1 and top in said:
            lines.append(f"{name}: {_flow(said[top])}")
            continue
        if key.default is REQUIRED and key.path[:-1] in live:
            live.add(key.path)
        mark = "" if key.path in live else "#"
        value = "" if not whole else f" {_flow(_shown(key))}"
        lines.append(f"{mark}{indent}{name}:{value}")
    return "\n".join(lines).lstrip("\n") + "\n"


def table(kind: type[msgspec.Struct]) -> list[str]:
    """The lines of a Markdown table of all keys."""
    lines = ["| key | type | default | what it is for |", "|---|---|---|---|"]
    for key in keys_of(kind):
        if key.default is REQUIRED:
            default = "has to be said"
        elif key.default is None or key.section:
            default = "left out" if key.default in (None, []) else ""
        else:
            default = f"`{_flow(key.default)}`"
        cells = (f"`{dotted(key.path)}`", key.type, default, key.text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def dotted(path: tuple[str, ...]) -> str:
    """witnesses[].url"""
    return ".".join(path).replace(".[]", "[]")


def _walk(
    shape: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...]
) -> Iterator[Key]:
    required = set(shape.get("required", ()))
    for name, told in shape.get("properties", {}).items():
        here = (*path, name)
        inner, below = _section(told, definitions)
        default = REQUIRED if name in required else told.get("default")
        if told.get("format") == "decimal" and isinstance(default, str):
            default = float(default)
        given = told.get("examples") or [msgspec.UNSET]
        yield Key(
            path=here,
            type=_type(told, definitions),
            default=default,
            text=" ".join(told.get("description", "").split()),
            example=given[0],
            section=inner is not None,
        )
        if inner is not None:
            yield from _walk(inner, definitions, (*here, *below))


def _section(
    told: dict[str, Any], definitions: dict[str, Any]
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The keys below this one, and what stands between: ("[]",) for a list."""
    if "items" in told:
        inner, below = _section(told["items"], definitions)
        return inner, ("[]", *below)
    for one in told.get("anyOf", [told]):
        found = _resolved(one, definitions)
        if "properties" in found:
            return found, ()
    return None, ()


def _resolved(told: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    name = told.get("$ref", "").removeprefix("#/$defs/")
    found: dict[str, Any] = definitions[name] if name else told
    return found


def _type(told: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in told:
        named = [one for one in told["anyOf"] if one.get("type") != "null"]
        return " or ".join(_type(one, definitions) for one in named)
    if "enum" in told:
        return " or ".join(f"`{one}`" for one in told["enum"])
    told = told if "type" in told else _resolved(told, definitions)
    if told["type"] == "array":
        least, most = told.get("minItems", 0), told.get("maxItems")
        item = _type(told["items"], definitions)
        many = "sections" if item == "section" else item
        return f"list of {many}" if most is None else f"list of {least} to {most}: {many}"
    if told["type"] == "object":
        inner = told.get("additionalProperties")
        return f"name: {_type(inner, definitions)}" if isinstance(inner, dict) else "section"
    if told["type"] == "string" and told.get("format") != "decimal":
        return told.get("title") or _bounded("text", told, "minLength", "maxLength", " letters")
    name = {"string": "decimal number", "boolean": "true or false"}.get(told["type"], told["type"])
    return _bounded(name, told, "minimum", "maximum", "")


def _bounded(name: str, told: dict[str, Any], low: str, high: str, unit: str) -> str:
    least, most = told.get(low), told.get(high)
    if least is not None and most is not None:
        return f"{name}, {least} to {most}{unit}"
    if least is not None:
        return f"{name}, {least}{unit} or more"
    return name if most is None else f"{name}, at most {most}{unit}"


def _comment(key: Key, indent: str) -> list[str]:
    """What it is for, then type and bounds, wrapped."""
    facts = [] if key.section else [key.type.replace("`", "")]
    if key.default is REQUIRED:
        facts.append("has to be said")
    elif key.example is not msgspec.UNSET:
        facts.append("an example; left out by default" if not key.default else "an example")
    words = [*key.text.split(), *(f"[{'; '.join(facts)}]" if facts else "").split()]
    lines, line = [], f"##{indent}"
    for word in words:
        if len(line) + 1 + len(word) > _WRAP:
            lines.append(line)
            line = f"##{indent}"
        line += f" {word}"
    return [*lines, line]


def _shown(key: Key) -> Any:
    if key.example is not msgspec.UNSET:
        return key.example
    if key.default is REQUIRED:
        first = key.type.partition(" or ")[0]
        return first.strip("`") if first.startswith("`") else "..."
    return key.default


def _flow(value: Any) -> str:
    """A value on one line, as YAML reads it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.replace("-", "").replace("/", "").isalnum():
        return value if not value.isdigit() and value[0].isalpha() else json.dumps(value)
    return json.dumps(value)
