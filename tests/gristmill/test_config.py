"""`gristmill config`: every key is explained, examples are taken, what is wrong has its path."""

import json
from pathlib import Path

import pytest

from chain.settings_text import dotted, keys_of
from gristmill import exits
from gristmill.cli import main
from gristmill.config import KINDS, structure
from tests.chain.test_settings_text import uncommented
from tests.gristmill import config_page


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_says_what_it_is_for(kind: str) -> None:
    for key in keys_of(structure(kind)):
        assert key.text.endswith((".", ")")), f"{kind}: {dotted(key.path)}: {key.text!r}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [False, True], ids=["as it is", "every key set"])
def test_an_example_is_valid(
    kind: str, whole: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "example", kind]) == exits.OK
    text = capsys.readouterr().out
    file = tmp_path / "any.yaml"
    file.write_text(uncommented(text) if whole else text)
    assert main(["config", "validate", str(file), "--kind", kind]) == exits.OK


def test_the_page_is_what_the_types_say() -> None:
    """Written by `python -m tests.gristmill.config_page`."""
    assert config_page.PAGE.read_text(encoding="utf-8") == config_page.page()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "replica.yaml",
            "api_version: gristmill/v1\nkind: Replica\nlisten: {api: x}",
            "$.listen.api: ",
        ),
        ("any.yaml", "kind: Miner\ndevice: gpu", "$.device: Invalid enum value 'gpu'"),
        ("node.yaml", "p2p: 127.0.0.1:70000", "$.p2p: 127.0.0.1:70000: a port is"),
        ("any.yaml", "kind: Sheep", "$.kind: 'Sheep'; one of Replica, Miner, Node expected"),
        ("any.yaml", "device: cpu", "say --kind"),
        ("miner.yaml", "device: [", "while parsing"),
    ],
)
def test_what_is_wrong_is_status_3_with_its_path(
    name: str, text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(text)
    assert main(["config", "validate", str(tmp_path / name), "--json"]) == exits.CONFIG
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False and told in answer["error"]["detail"]


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert main(["config", "show", str(tmp_path / "none.yaml")]) == exits.USAGE


def test_show_tells_what_holds_and_which_variables_took_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "miner.yaml").write_text("device: auto\nniceness: 1\n")
    monkeypatch.setenv("GRISTMILL_MINER__NICENESS", "9")
    monkeypatch.setenv("GRISTMILL_NODE__PEERS", "[]")
    assert main(["config", "show", str(tmp_path / "miner.yaml"), "--json"]) == exits.OK
    told = json.loads(capsys.readouterr().out)["data"]
    assert told["environment"] == ["GRISTMILL_MINER__NICENESS"]
    held = [told["settings"][name] for name in ("device", "niceness", "watts_per_core")]
    assert held == ["auto", 9, 15]  # of the file, the environment, the default


def test_a_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema", "node"]) == exits.OK
    assert "NodeConfig" in json.loads(capsys.readouterr().out)["$defs"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_this_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == exits.OK
    assert f"_GRISTMILL_COMPLETE={shell}_complete" in capsys.readouterr().out
