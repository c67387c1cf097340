"""Bundles of evidence: a third party checks them alone, and one that was altered proves nothing."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from bft.codec.canonical import decode, encode
from bft.crypto.hashing import sha256
from chain.audit.archive import frame, start_archive
from chain.audit.evidence import Evidence
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.mill import Mill


@cache
def mill() -> Mill:
    """Three cycles; in each another thing is signed that should not be."""
    made = Mill().found().to_aggregation(liar=2)
    made.aggregate()
    made.sign()
    made.witness()
    made.sign()
    made.to_aggregation().aggregate(dissenter=1)
    made.sign()
    made.witness()
    made.sign()
    made.to_block().witness()
    made.say(made.replicas[3], made.bad_share(3))
    made.sign(range(3))
    return made


def bundles(home: Path) -> list[Path]:
    """What an audit of that log writes."""
    log = home / "log.grist"
    with log.open("wb") as file:
        start_archive(file, encode(mill().genesis))
        file.writelines(frame(encode(entry)) for entry in mill().entries)
    assert main(["audit", str(log), "--evidence", str(home / "evidence")]) == 0
    return sorted((home / "evidence").iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By rule."""
    found = bundles(tmp_path_factory.mktemp("audit"))
    return {path.name.partition("-entry")[0]: path for path in found}


RULES = {"evaluation": 2, "snapshot": 1, "bad-share": 3}


def test_each_accusation_has_a_bundle(written: dict[str, Path]) -> None:
    assert {rule: int(path.stem[-1]) for rule, path in written.items()} == RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_bundle_convicts_alone(
    written: dict[str, Path], rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = mill().state.federation_key
    assert made is not None
    assert main(["audit", "check", str(written[rule]), "--federation-key", made.key.hex()]) == 0
    out, err = capsys.readouterr()
    assert f"replica {RULES[rule]} of epoch 0" in out and rule in out and err == ""


def altered(path: Path, home: Path, change: Callable[[Evidence], Evidence]) -> Path:
    evidence = decode(Evidence, path.read_bytes())
    after = change(evidence)
    assert after != evidence
    (home / "altered").write_bytes(encode(after))
    return home / "altered"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, replica=0),
        lambda e: replace(e, replica=9),
        lambda e: replace(e, epoch=1),
        lambda e: replace(e, cycle=e.cycle + 1) if e.rule != b"bad-share" else replace(e, epoch=7),
        lambda e: replace(e, requests=()),
        lambda e: replace(e, requests=(e.requests[0][:-1] + b"x", *e.requests[1:])),
        lambda e: replace(e, rule=b"other"),
        lambda e: replace(e, activated=b""),
        lambda e: replace(e, leaves=(b"x",)),
    ],
)
def test_an_altered_bundle_proves_nothing(
    written: dict[str, Path],
    tmp_path: Path,
    rule: str,
    change: Callable[[Evidence], Evidence],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = altered(written[rule], tmp_path, change)
    assert main(["audit", "check", str(path)]) == exits.VERIFICATION_FAILED
    assert "it proves nothing" in capsys.readouterr().out


def test_too_few_witnesses_prove_nothing(
    written: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rule in ("evaluation", "snapshot"):
        path = altered(written[rule], tmp_path, lambda e: replace(e, requests=e.requests[:2]))
        assert main(["audit", "check", str(path)]) == exits.VERIFICATION_FAILED
    assert "strong quorum" in capsys.readouterr().out


def test_another_federations_key_is_refused(
    written: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    key = (bytes([0x80]) + sha256(b"other") * 3)[:96].hex()
    status = main(["audit", "check", str(written["snapshot"]), "--federation-key", key])
    assert status == exits.VERIFICATION_FAILED
