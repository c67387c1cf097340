"""Settings in YAML, then in the environment -> one frozen structure; anything else is an error.

PyYAML's safe loader raises more than YAMLError: a date that no calendar has, a number of 5000
digits, a tag on the wrong kind of value, and nesting deeper than Python's stack each come as
another exception.  Of two equal keys it takes the last without a word; here they are refused.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import Meta

from bft.errors import ConfigError

SETTINGS_BYTES_MAX = 64 * 1024
VARIABLES_MAX = 256  # of the environment, for one kind of settings
_SPOT = re.compile(r"^(?P<text>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<place>\d+)\]")  # of such a path
_BY_PATTERN = "Expected `str` matching regex "
_CAME_CHARS_MAX = 80

S = TypeVar("S", bound=msgspec.Struct)


def says(text: str, example: Any = msgspec.UNSET) -> Meta:
    """What a setting is for: Annotated[int, says("Seconds; ...")].

    `gristmill config` and docs/CONFIGURATION.md show it; a test holds that every setting has one.

    Args:
        example: a value for the example file, where the default would say nothing.
    """
    return Meta(description=text, examples=None if example is msgspec.UNSET else [example])


def variables(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Of the environment what sets the settings of a kind: GRISTMILL_KIND__KEY__KEY -> text.

    An empty one sets nothing.

    Raises:
        ConfigError: more than VARIABLES_MAX.
    """
    prefix = f"GRISTMILL_{kind.upper()}__"
    found = {name: text for name, text in environ.items() if name.startswith(prefix) and text}
    if len(found) > VARIABLES_MAX:
        raise ConfigError(f"{len(found)} variables {prefix}*; at most {VARIABLES_MAX} are read")
    return found


def parse_settings(
    kind: type[S], data: bytes, spot: str, environment: Mapping[str, str] | None = None
) -> S:
    """The settings in a file's bytes; an empty file is an empty mapping.

    Args:
        spot: where they stood, for the error.
        environment: what `variables` found; each stands above the key of its name in the file, and
            its text is read as YAML.

    Raises:
        ConfigError: too long, no YAML, or against `kind`; the text names `spot` and the path in it.
    """
    raw = _read_yaml(data, spot)
    raw = {} if raw is None else raw
    if environment:
        raw = _overlaid(raw, environment, spot)
        spot = f"{spot}, with {', '.join(sorted(environment))}"
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        path, text = what_is_wrong(error, raw, kind)
        raise ConfigError(f"{spot}: {path}: {text}") from None
    except RecursionError:
        raise ConfigError(f"{spot}: nested too deeply") from None


def what_is_wrong(
    error: msgspec.ValidationError, raw: Any, kind: type[msgspec.Struct]
) -> tuple[str, str]:
    """(path, such as $.listen.api; what came and what was expected) of a value against `kind`.

    msgspec names a pattern, which nobody reads; here the title of the type says what it means.
    """
    told = _SPOT.match(str(error))
    assert told is not None  # it matches everything
    path, text = told["path"] or "$", told["text"]
    came = _value_at(raw, path)
    if text.startswith(_BY_PATTERN) and isinstance(came, str):
        shown = came if len(came) <= _CAME_CHARS_MAX else came[:_CAME_CHARS_MAX] + "..."
        pattern = text.removeprefix(_BY_PATTERN)
        return path, f"{shown!r} came; {_titles(kind).get(pattern, text)} is expected"
    if isinstance(came, int | float) and ", got" not in text:
        text += f", got {str(came)[:_CAME_CHARS_MAX]}"
    return path, text


def _value_at(raw: Any, path: str) -> Any:
    """What stands at a path of msgspec's; None where the path does not say exactly which."""
    for step in _STEP.finditer(path):
        try:
            raw = raw[step["key"] if step["place"] is None else int(step["place"])]
        except (LookupError, TypeError):
            return None
    return None if "[...]" in path else raw


def _titles(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Pattern, as an error shows it -> what its type is called."""
    found: dict[str, str] = {}
    rest: list[Any] = [msgspec.json.schema(kind)]
    while rest:
        shape = rest.pop()
        if isinstance(shape, dict):
            if "pattern" in shape and "title" in shape:
                found[repr(shape["pattern"])] = shape["title"]
            rest += shape.values()
        elif isinstance(shape, list):
            rest += shape
    return found


def _overlaid(raw: Any, environment: Mapping[str, str], spot: str) -> dict[str, Any]:
    """A copy of `raw` with the environment's values in their places."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{spot}: $: Expected `object`, got `{type(raw).__name__}`")
    made: dict[str, Any] = dict(raw)
    for name, text in sorted(environment.items()):
        *sections, last = name.partition("__")[2].lower().split("__")
        inside = made
        for section in sections:
            held = inside.get(section) or {}
            if not isinstance(held, dict):
                raise ConfigError(f"{name}: {section} in {spot} has no keys")
            inside[section] = dict(held)
            inside = inside[section]
        inside[last] = _read_yaml(text.encode("utf-8", "surrogateescape"), name)
    return made


def _read_yaml(data: bytes, spot: str) -> Any:
    if len(data) > SETTINGS_BYTES_MAX:
        raise ConfigError(f"{spot}: longer than {SETTINGS_BYTES_MAX} bytes")
    try:
        return yaml.load(data, _StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{spot}: {' '.join(str(error).split())}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"{spot}: a value cannot be read: {error}") from None
    except RecursionError:
        raise ConfigError(f"{spot}: nested too deeply") from None


class _StrictLoader(yaml.SafeLoader):
    """As PyYAML's safe loader, but a key that stands there twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands here twice", key.start_mark
                    )
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)
