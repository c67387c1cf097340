"""The environment above a file, the file above the defaults; and every key as people read it."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from msgspec import Meta

from bft.errors import ConfigError
from chain.settings import SETTINGS_BYTES_MAX, VARIABLES_MAX, parse_settings, says, variables
from chain.settings_text import REQUIRED, dotted, example, keys_of, schema_of, table
from gristmill.config import KINDS, structure


class Door(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    port: Annotated[int, Meta(ge=1, le=9), says("Where.")] = 7
    name: Annotated[str | None, says("Who.", "ada")] = None


Place = Annotated[str, Meta(pattern=r"^\S+:\d+$", title="host:port")]


class Friend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(title="URL"), says("Where it answers.")]


class House(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Annotated[Literal["House"], says("What this is.")]
    door: Annotated[Door, says("The way in.")] = Door()
    doors: Annotated[tuple[Place, ...], says("Ways out.")] = ()
    friends: Annotated[tuple[Friend, ...], says("Others.", [{"url": "http://a:1"}])] = ()


def parsed(text: str, **environment: str) -> House:
    found = variables(
        "house", {f"GRISTMILL_HOUSE__{name}": one for name, one in environment.items()}
    )
    return parse_settings(House, text.encode(), "house.yaml", found)


def test_the_environment_stands_above_the_file_and_the_file_above_the_default() -> None:
    assert parsed("kind: House").door.port == 7
    assert parsed("kind: House\ndoor: {port: 5}").door.port == 5
    told = parsed("kind: House\ndoor: {port: 5, name: bob}", DOOR__PORT="3")
    assert told.door == Door(port=3, name="bob")
    assert parsed("", KIND="House", FRIENDS="[{url: 'http://b:2'}]").friends[0].url == "http://b:2"


def test_an_empty_variable_and_those_of_others_set_nothing() -> None:
    assert parsed("kind: House", DOOR__PORT="").door.port == 7
    assert variables("house", {"GRISTMILL_MINER__DEVICE": "cpu", "GRISTMILL_HOUSE_RUN": "1"}) == {}


@pytest.mark.parametrize(
    ("text", "environment", "told"),
    [
        (
            "kind: House\ndoor: {port: 0}",
            {},
            r"^house.yaml: \$.door.port: Expected `int` >= 1, got 0$",
        ),
        ("kind: House\ndoors: [a:1, b]", {}, r"\$.doors\[1\]: 'b' came; host:port is expected$"),
        ("kind: House", {"DOORS": f"[{'b' * 999}]"}, r"'b{80}\.\.\.' came; host:port is expected$"),
        ("kind: House", {"DOOR__PORT": "x"}, r"with GRISTMILL_HOUSE__DOOR__PORT: \$.door.port: "),
        ("kind: House", {"DOOR__PROT": "1"}, r"\$.door: .*unknown field `prot`"),
        (
            "kind: House",
            {"KIND__X": "1"},
            "GRISTMILL_HOUSE__KIND__X: kind in house.yaml has no keys",
        ),
        ("kind: House", {"DOOR": "{"}, "GRISTMILL_HOUSE__DOOR: while parsing"),
        ("- 1", {"DOOR__PORT": "1"}, r"house.yaml: \$: Expected `object`, got `list`"),
        ("kind: House\nkind: House", {}, "the key 'kind' stands here twice"),
        ("door: {port: 1}", {}, r"house.yaml: \$: .*missing required field `kind`"),
        ("kind: Hou", {}, r"house.yaml: \$.kind: Invalid enum value 'Hou'"),
        ("kind: House\ndoor: {port: ", {}, "house.yaml: while parsing"),
        ("kind: House", {"DOOR": "#" * (SETTINGS_BYTES_MAX + 1)}, "longer than"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(
    text: str, environment: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        parsed(text, **environment)


def patterns(shape: Any) -> list[dict[str, Any]]:
    """All of a schema that have one."""
    inside = shape.values() if isinstance(shape, dict) else shape if isinstance(shape, list) else ()
    found = [one for each in inside for one in patterns(each)]
    return [shape, *found] if isinstance(shape, dict) and "pattern" in shape else found


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_pattern_of_a_setting_has_a_name_that_an_error_can_say(kind: str) -> None:
    """Nobody reads a regular expression."""
    assert [one for one in patterns(schema_of(structure(kind))) if "title" not in one] == []


def test_the_environment_is_bounded() -> None:
    many = {f"GRISTMILL_HOUSE__K{number}": "1" for number in range(VARIABLES_MAX + 1)}
    with pytest.raises(ConfigError, match="257 variables"):
        variables("house", many)


def test_keys_have_type_bounds_default_and_text() -> None:
    told = {dotted(key.path): key for key in keys_of(House)}
    assert list(told) == [
        "kind",
        "door",
        "door.port",
        "door.name",
        "doors",
        "friends",
        "friends[].url",
    ]
    assert told["kind"].default is REQUIRED and told["kind"].type == "`House`"
    assert (told["door.port"].type, told["door.port"].default) == ("integer, 1 to 9", 7)
    assert told["door"].section and told["door"].text == "The way in."
    assert told["friends[].url"].type == "URL"
    assert "| `door.port` | integer, 1 to 9 | `7` | Where. |" in table(House)


def test_the_example_says_the_defaults_and_its_other_lines_can_be_taken_in() -> None:
    text = example(House)
    assert parse_settings(House, text.encode(), "as it is") == House(kind="House")
    assert parse_settings(House, uncommented(text).encode(), "all of it") == House(
        kind="House", door=Door(name="ada"), friends=(Friend(url="http://a:1"),)
    )


def test_what_is_said_stands_in_the_example() -> None:
    said = yaml.safe_load(example(House, {"door": {"port": 2}}))
    assert said == {"kind": "House", "door": {"port": 2}}


def test_the_schema_is_for_editors() -> None:
    found = schema_of(House)
    assert found["$schema"].endswith("2020-12/schema")
    assert found["$defs"]["Door"]["properties"]["port"]["maximum"] == 9


def uncommented(text: str) -> str:
    """Every key of an example set."""
    lines = [line for line in text.splitlines() if not line.startswith("##")]
    return "\n".join(line.removeprefix("#") for line in lines)
