"""Every bad day has a finding of its own, and every finding says what to do."""

import datetime
import shutil
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from bft.crypto.identity import PrivateKey
from bft.errors import ConfigError
from chain.params import MINIMAL
from chain.release import release
from coordinator import doctor, doctor_peers
from coordinator.ceremony import local_federation
from coordinator.config import Home, load_setup
from coordinator.epochs import Noted
from coordinator.service.journal import Journal
from tests.ports import claim_ports
from tests.sample import JOB, SNAPSHOT

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Home, Home]:
    _, made = local_federation(tmp_path, 2, MINIMAL, JOB, SNAPSHOT, claim_ports(4))
    return Home(made[0]), Home(made[1])


def bad(home: Home) -> dict[str, str]:
    """Findings by kind, with what to do."""
    found = [one for one in doctor.examine(home.path) if not one.ok]
    assert all(one.advice for one in found)
    return {one.kind: one.text for one in found}


def test_a_sound_home_whose_peers_are_away(homes: tuple[Home, Home]) -> None:
    found = bad(homes[0])
    assert found.keys() == {"data set", "quorum", "peer"}  # the sample's data set is nobody's
    assert found["quorum"] == "1 of 2 with this one, 2 decide: 1 too few"


def test_the_quorum_is_of_the_epoch_that_the_journal_knows(homes: tuple[Home, Home]) -> None:
    setup = load_setup(homes[0].path)
    key, founders = setup.identity.public_key, setup.genesis.members
    journal = Journal(homes[0].journal, setup.genesis.chain_id, key)
    try:
        assert doctor_peers.present_members(setup) == founders
        later = Noted(
            chain_id=setup.genesis.chain_id,
            epoch=1,
            began=9,
            members=(*founders, replace(founders[1], key=PrivateKey(bytes([7] * 32)).public_key)),
            former=tuple(member.key for member in founders),
        )
        journal.note_epoch(later)
        assert doctor_peers.present_members(setup) == later.members
        told = {name: text for name, _, text in doctor_peers.others(setup)}
    finally:
        journal.close()
    assert told["quorum"].startswith("1 of 3 with this one")
    assert {"peer 1", "peer 2"} <= told.keys()


def test_keys_and_certificates_that_were_swapped(homes: tuple[Home, Home]) -> None:
    home, other = homes
    own = home.tls_key.read_bytes()
    home.tls_key.write_bytes(other.tls_key.read_bytes())
    assert "is not the key of" in bad(home)["certificate"]
    home.tls_key.write_bytes(own)
    home.tls_certificate.write_bytes(other.tls_certificate.read_bytes())
    assert "is not the one in the genesis record" in bad(home)["certificate"]


def test_a_port_in_use_is_named(homes: tuple[Home, Home]) -> None:
    address = load_setup(homes[0].path).member.api.decode()
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        assert bad(homes[0])["ports"].startswith(f"{address}: Address already in use")


def test_half_a_file_of_settings(homes: tuple[Home, Home]) -> None:
    text = homes[0].config.read_text() + "listen: {api: 127.0.0.1"
    homes[0].config.write_text(text)
    assert "replica.yaml: while parsing" in bad(homes[0])["files"]
    homes[0].config.write_text("api_version: gristmill/v1\nkind:")
    assert "replica.yaml: $.kind: " in bad(homes[0])["files"]


def test_a_genesis_record_of_others(homes: tuple[Home, Home], tmp_path: Path) -> None:
    _, others = local_federation(tmp_path / "b", 2, MINIMAL, JOB, SNAPSHOT, claim_ports(4))
    shutil.copyfile(Home(others[0]).genesis, homes[0].genesis)
    homes[0].member.unlink(missing_ok=True)
    assert "belongs to no member of" in bad(homes[0])["files"]


def test_an_etcd_that_is_away(homes: tuple[Home, Home]) -> None:
    (port,) = claim_ports(1)
    with homes[0].config.open("a") as settings:
        settings.write(f"standby: {{etcd: ['127.0.0.1:{port}']}}\n")
    assert f"127.0.0.1:{port}" in bad(homes[0])["etcd"]


@pytest.mark.parametrize(
    ("offset_ms", "well", "told"),
    [
        (2_000, True, "2000 ms from the median of 3 peers"),
        (2_001, False, "2.0 s ahead of the median"),
        (-300_000, False, "300.0 s behind the median of 3 peers"),
    ],
)
def test_a_wrong_clock_is_this_machines(offset_ms: int, well: bool, told: str) -> None:
    name, ok, text = doctor_peers.clock(offset_ms, 3)
    assert (name, ok) == ("clock", well) and told in text


def test_another_version_is_told_and_is_no_fault() -> None:
    """An upgrade goes from one operator to the next."""
    name, ok, text = doctor_peers.peer(2, {"url": "http://x", "release": "9.9"}, 3)
    assert (name, ok) == ("peer 2", True)
    assert f"it runs version 9.9, this one {release()}" in text
    _, _, text = doctor_peers.peer(2, {"url": "http://x", "release": release()}, 3)
    assert "version" not in text


@pytest.mark.parametrize(("answering", "well"), [(3, True), (2, True), (1, False)])
def test_the_quorum_is_counted_with_this_replica(answering: int, well: bool) -> None:
    assert doctor_peers.margin(4, answering, member=True)[1] is well
    assert doctor_peers.margin(4, answering, member=False)[1] is (answering >= 3)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (NOW - DAY, NOW + 365 * DAY, None),
        (NOW - 9 * DAY, NOW - DAY, "not today"),
        (NOW + DAY, NOW + 9 * DAY, "not today"),
        (NOW - DAY, NOW + DAY, "expires on"),
    ],
)
def test_a_certificate_out_of_its_time(
    first: datetime.datetime, last: datetime.datetime, told: str | None
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ada")])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), first, last
    ).sign(key, hashes.SHA256())
    if told is None:
        assert f"valid until {last:%Y-%m-%d}" in doctor.validity(made, Path("tls.crt"))
    else:
        with pytest.raises(ConfigError, match=told):
            doctor.validity(made, Path("tls.crt"))
