"""The vectors hold for whoever reads docs/PROTOCOL.md: nothing of ours is imported here.

Only the standard library, py_ecc for pairings and `cryptography` for ECDSA.
"""

import json
import struct
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.bft.crypto.py_ecc_verifier import py_ecc_verifies

V: dict[str, Any] = json.loads(
    (Path(__file__).parent / "gristmill" / "protocol.json").read_text(encoding="utf-8")
)
b = bytes.fromhex


def tagged(tag: str, data: bytes) -> bytes:
    prefix = sha256(tag.encode()).digest()
    return sha256(prefix + prefix + data).digest()


# Section 1: encoding.


def pack(value: Any) -> bytes:
    """Shortest MessagePack of integers, bytes and arrays."""
    if isinstance(value, bytes):
        for head, size in ((b"\xc4", "B"), (b"\xc5", ">H"), (b"\xc6", ">I")):
            if len(value) < 2 ** (8 * struct.calcsize(size)):
                return head + struct.pack(size, len(value)) + value
    if isinstance(value, int):
        if -32 <= value < 128:
            return struct.pack("B" if value >= 0 else "b", value)
        unsigned = ((b"\xcc", ">B"), (b"\xcd", ">H"), (b"\xce", ">I"), (b"\xcf", ">Q"))
        signed = ((b"\xd0", ">b"), (b"\xd1", ">h"), (b"\xd2", ">i"), (b"\xd3", ">q"))
        for head, size in unsigned if value >= 0 else signed:
            bits = 8 * struct.calcsize(size) - (value < 0)
            if -(2**bits) <= value < 2**bits:
                return head + struct.pack(size, value)
    assert isinstance(value, list)
    head = (
        bytes([0x90 + len(value)]) if len(value) < 16 else b"\xdc" + struct.pack(">H", len(value))
    )
    return head + b"".join(pack(entry) for entry in value)


def fields(shown: Any) -> Any:
    """A record as the vectors show it, as a list of its fields in order."""
    if isinstance(shown, dict):
        return [fields(value) for value in shown.values()]
    if isinstance(shown, list):
        return [fields(value) for value in shown]
    return b(shown) if isinstance(shown, str) else shown


def integer(shown: int | str) -> int:
    return int(shown)


def test_records_are_messagepack_arrays_in_their_shortest_form() -> None:
    for case in V["records"]["accepted"]:
        values = [
            int(value) if name in ("gain", "advantage") else fields(value)
            for name, value in case["fields"].items()
        ]
        assert pack(values).hex() == case["encoded"]
    genesis = V["genesis"]
    shown = genesis["fields"]
    assert pack(fields(shown)).hex() == genesis["encoded"]
    assert tagged("gristmill.genesis/1", b(genesis["encoded"])).hex() == genesis["chain_id"]


# Sections 1, 3 and 4: envelopes, genesis, requests, proofs.


def pre_image(tag: bytes, body: bytes) -> bytes:
    return b"DSSEv1 %d %b %d %b" % (len(tag), tag, len(body), body)


def ecdsa(signer: bytes, signature: bytes, message: bytes) -> None:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), signer)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))


def test_the_envelope_is_an_ecdsa_signature_over_tag_and_body() -> None:
    case = V["envelope"]
    tag, body = case["tag"].encode(), b(case["body"])
    signer, signature = b(case["signer"]), b(case["signature"])
    assert pre_image(tag, body).hex() == case["signed"]
    assert pack([tag, body, signer, signature]).hex() == case["envelope"]
    assert pack(fields(case["fields"])) == body
    ecdsa(signer, signature, b(case["signed"]))
    with pytest.raises(InvalidSignature):
        ecdsa(signer, signature, b(case["signed"]) + b"x")


def test_block_0_follows_from_the_genesis_record() -> None:
    case = V["genesis"]
    seconds = case["fields"]["created_ms"] // 1000
    header = struct.pack(
        "<I32s32sIII", 0x20000000, bytes(32), b(case["chain_id"]), seconds, 0x207FFFFF, 0
    )
    assert header.hex() == case["header"]
    assert sha256(sha256(header).digest()).hexdigest() == case["block_hash"]


def test_a_batch_and_its_proof_are_checked_from_scratch() -> None:
    case = V["ordering"]
    for request in case["requests"]:
        body = pack(fields(request["fields"]))
        signed = pre_image(b"bft.request/1", body)
        assert sha256(signed).hexdigest() == request["digest"]
        assert body in b(request["sealed"])
    batch = pack([case["batch"]["timestamp_ms"], [b(r["sealed"]) for r in case["requests"]]])
    assert batch.hex() == case["batch"]["encoded"]
    assert tagged("bft.batch/1", batch).hex() == case["batch"]["digest"]
    proof = case["quorum_proof"]
    for replica, member in enumerate(case["members"]):
        commit = [b(case["chain_id"]), 0, proof["view"], proof["sequence"], b(proof["digest"])]
        signed = pre_image(b"pbft.commit/1", pack([*commit, replica]))
        assert signed.hex() == proof["signed"][replica]
        for accepted in map(b, proof["accepted"]):
            at = accepted.find(bytes([0x92, replica, 0xC4, 64]))
            if at > 0:
                ecdsa(b(member), accepted[at + 4 : at + 68], signed)


def test_operations_under_one_signature_are_an_operation_that_lists_them() -> None:
    case = V["ordering"]["commands"]
    body = pack([[b(operation) for operation in case["operations"]]])
    assert pack([b"gristmill.commands/1", body]).hex() == case["operation"]


def test_a_receipt_is_checked_from_scratch() -> None:
    case, members = V["ordering"]["receipt"], V["ordering"]["members"]
    execution = fields(case["fields"])
    assert execution[4] == sha256(b(V["ordering"]["requests"][0]["sealed"])).digest()
    signed = pre_image(b"gristmill.execution-receipt/1", pack(execution))
    assert signed.hex() == case["signed"]
    said = []
    for member, sealed in zip(map(b, members), map(b, case["sealed"]), strict=True):
        signature = sealed[-64:]
        ecdsa(member, signature, signed)
        said.append(signature)
    for chosen, receipt in zip(((0, 1), (1, 3)), case["accepted"], strict=True):
        signatures = [[replica, said[replica]] for replica in chosen]
        assert pack([execution, signatures]).hex() == receipt


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\1" + tree(leaves[:k]) + tree(leaves[k:])).digest()


def test_trees_are_those_of_rfc_6962() -> None:
    leaves = [b(leaf) for leaf in V["hashes"]["leaves"]]
    assert [tree(leaves[:size]).hex() for size in range(9)] == V["hashes"]["roots"]
    rows = [
        pack([integer(v) if n != "miner" else b(v) for n, v in case["fields"].items()])
        for case in V["contributions"]["accepted"]
    ]
    assert [row.hex() for row in rows] == [case["row"] for case in V["contributions"]["accepted"]]
    assert tree(rows).hex() == V["contributions"]["root"]


# Sections 8 to 11: decisions.


def words(tag: str, seed: bytes) -> Iterator[int]:
    counter = 0
    while True:
        yield int.from_bytes(tagged(tag, seed + counter.to_bytes(8, "big")), "big")
        counter += 1


def below(stream: Iterator[int], bound: int) -> int:
    return next(word for word in stream if word < 2**256 // bound * bound) % bound


def shuffled(tag: str, seed: bytes, size: int) -> list[int]:
    stream, places = words(tag, seed), list(range(size))
    for place in reversed(range(1, size)):
        other = below(stream, place + 1)
        places[place], places[other] = places[other], places[place]
    return places


def test_sampling() -> None:
    case = V["sampling"]
    stream = words(case["tag"], b(case["seed"]))
    for draw in case["below"]:
        assert below(stream, integer(draw["bound"])) == integer(draw["drawn"])
    assert shuffled(case["tag"], b(case["seed"]), 12) == case["permutation_of_12"]


def test_assignment() -> None:
    for case in V["assignment"]:
        seed, job, tag = b(case["seed"]), case["job"], "gristmill/assignment/order/v1"
        keys = sorted(case["capacities"])
        left = {
            key: min(case["units_per_miner_max"], case["capacities"][key] // case["unit_capacity"])
            for key in keys
        }
        order = [keys[place] for place in shuffled(tag, seed, len(keys))]
        shown, fits = case["standings"], job["train_records"] // job["chunk_records"]
        due = {key: min(left[key], shown.get(key, {"units": 0})["units"]) for key in order}
        rest = {key: left[key] - due[key] for key in order}
        dealt = rounds(order, due)[:fits]
        dealt += rounds(order, rest)[: min(case["newcomer_units"], fits - len(dealt))]
        first = below(words(tag + "/segment", seed), job["segments"])
        ring = [(first + place) % job["segments"] for place in range(job["segments"])]
        free = [ring[place % len(ring)] for place in range(len(dealt))]  # one for each unit
        held: list[int | None] = []
        for key in dealt:
            kept = shown.get(key, {"units": 0, "segment": 0})
            stays = kept["units"] > 0 and kept["segment"] in free
            held.append(kept["segment"] if stays else None)
            if stays:
                free.remove(kept["segment"])
        at = 0
        for unit, segment in enumerate(held):
            if segment is None:
                while ring[at % len(ring)] not in free:
                    at += 1
                held[unit] = ring[at % len(ring)]
                free.remove(ring[at % len(ring)])
                at += 1
        assert case["units"] == [
            {
                "unit": unit,
                "miner": miner,
                "segment": held[unit],
                "chunk": unit,
                "steps": job["steps"],
            }
            for unit, miner in enumerate(dealt)
        ]


def rounds(order: list[str], wanted: dict[str, int]) -> list[str]:
    """One to each that still wants one, again and again."""
    most = max(wanted.values(), default=0)
    return [key for turn in range(most) for key in order if wanted[key] > turn]


def test_data() -> None:
    case = V["data"]
    seed, job = b(case["seed"]), case["job"]
    size, train = job["chunk_records"], job["train_records"]
    order = shuffled("gristmill/assignment/chunks/v1", seed, train)
    chunk = order[case["chunk"] * size : (case["chunk"] + 1) * size]
    assert chunk == case["chunk_records"]
    held = shuffled("gristmill/evaluation/challenge/v1", seed, job["heldout_records"])
    assert [train + place for place in held[: case["challenge_count"]]] == case["challenge_records"]
    own = shuffled("gristmill/evaluation/own/v1", seed + struct.pack(">I", case["unit"]), size)
    assert [chunk[place] for place in own[: case["own_count"]]] == case["own_records"]
    control = shuffled("gristmill/evaluation/control/v1", seed, train)
    assert control[: case["control_count"]] == case["control_records"]
    unit = [b(v) if n == "miner" else v for n, v in case["assigned"].items()]
    seeded = tagged("gristmill/training/seed/v1", seed + pack(unit))
    assert seeded.hex() == case["training_seed"]
    drawn = shuffled("gristmill/audit/v1", seed, len(case["revealed"]))
    for audit in case["audits"]:
        count = ceil(len(drawn) * Fraction(audit["audit_share"], 2**16))
        assert audit["units"] == sorted(case["revealed"][place] for place in drawn[:count])


def median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def share(value: int, reference: int, most: int) -> int:
    return floor(min(Fraction(most), max(Fraction(0), Fraction(value, reference))) * 2**16)


def test_scores() -> None:
    case = V["scores"]
    for result in case["results"]:
        counted = [case["tables"][replica]["rows"] for replica in result["counted"]]
        struck = {
            row["miner"]
            for row in result["rows"]
            if row["audited"] and row["valid"] and row["replay"] < case["audit_cosine"]
        }
        assert sorted(struck) == result["struck"]
        for unit, (assigned, row) in enumerate(zip(case["units"], result["rows"], strict=True)):
            for column in ("valid", "gain", "advantage", "norm"):
                assert row[column] == median([table[unit][column] for table in counted])
            assert row["audited"] == (unit in case["audited"])
            told = median([table[unit]["replay"] for table in counted])
            assert row["replay"] == (told if row["audited"] else 0)
            reference = case["references"][assigned["segment"]]
            assert row["cap"] == reference["norm"]
            c = share(row["advantage"], reference["advantage"], 2) * row["valid"]
            q = share(row["gain"], reference["gain"], 1) * row["valid"]
            assert (row["coverage"], row["quality"]) == (c, q)
            volume = row["parameters"] * row["samples"] >> case["volume_shift"]
            assert row["merit"] == (volume * c * c * q >> 48) * (row["miner"] not in struck)
        ready = {key for key, passed in result["passed"].items() if passed >= case["trial_audits"]}
        merits = [(row["miner"] in ready, row["merit"], row["tickets"]) for row in result["rows"]]
        outvoted = 2 * sum(each for free, each, _ in merits if free) < sum(m for _, m, _ in merits)
        assert all(told == merit * (free or outvoted) for free, merit, told in merits)
        rows = [
            pack([integer(v) if n != "miner" else b(v) for n, v in row.items()])
            for row in result["rows"]
        ]
        assert tree(rows).hex() == result["contributions_root"]


def test_the_lottery() -> None:
    for case in V["lottery"]:
        stream = words("gristmill/lottery/v1", b(case["randomness"]))
        left = {key: integer(held) for key, held in sorted(case["tickets"].items()) if held}
        ranks: list[tuple[str, int]] = []
        while left and len(ranks) < case["ranks_max"]:
            point = below(stream, sum(left.values()))
            for key in left:
                if point < left[key]:
                    break
                point -= left[key]
            ranks.append((key, left.pop(key)))
        assert ranks == [(rank["miner"], integer(rank["tickets"])) for rank in case["ranks"]]


# Sections 6 and 13: what the federation signs.

LAYOUT = "<B32sIQIB32sII32s33sQqQQ32s32sQ32s32s"


def test_beacon_rounds_and_the_chain_hash() -> None:
    case = V["beacon"]
    for entry in case["rounds"]:
        message = sha256(struct.pack(">Q", integer(entry["round"]))).digest()
        assert message.hex() == entry["message"]
        assert sha256(b(entry["signature"])).hexdigest() == entry["randomness"]
    assert py_ecc_verifies(b(case["federation_key"]), b(entry["signature"]), message)
    chain = case["chain"]
    head = struct.pack(">IQ", chain["period"], chain["genesis_time"]) + b(case["federation_key"])
    hashed = sha256(head + b(chain["genesis_seed"]) + chain["beacon_id"].encode())
    assert hashed.hexdigest() == chain["hash"]


def test_certificates() -> None:
    key = b(V["certificates"]["federation_key"])
    for case in V["certificates"]["accepted"]:
        values = [
            b(value) if isinstance(value, str) and len(value) > 20 else int(value)
            for value in case["fields"].values()
        ]
        body = struct.pack(LAYOUT, 1, *values)
        assert len(body) == 323 and body.hex() == case["body"]
        message = tagged("gristmill/certificate/v1", body)
        assert message.hex() == case["message"]
        assert case["body"] + case["signature"] == case["certificate"]
    assert py_ecc_verifies(key, b(case["signature"]), message)


def push(data: bytes) -> bytes:
    """Bitcoin's shortest."""
    size = len(data)
    if size < 76:
        return bytes([size]) + data
    return (b"\x4c" + bytes([size]) if size < 256 else b"\x4d" + struct.pack("<H", size)) + data


def sized(script: bytes) -> bytes:
    size = len(script)
    return (bytes([size]) if size < 253 else b"\xfd" + struct.pack("<H", size)) + script


def winner_message(certificate: bytes, block: Any) -> bytes:
    """Section 14: the coinbase without the signature, and what is above it."""
    height = certificate[45]  # of small numbers OP_1 and so on
    committed = push(b"\xaa\x21\xa9\xed" + b(block["commitment"]))
    committed += push(b"\xec\xc7\xda\xa2") if block["slot"] else b""
    outputs = [
        struct.pack("<Q", block["reward"]) + sized(b(block["payee"])),
        bytes(8) + sized(b"\x6a" + push(b"GRSC" + certificate) + push(b"GRSW")),
        bytes(8) + sized(b"\x6a" + committed),
    ]
    coin = bytes(32) + b"\xff" * 4 + sized(bytes([0x50 + height, 0])) + b"\xff" * 4
    coinbase = b"\x02\0\0\0\x01" + coin + b"\x03" + b"".join(outputs) + bytes(4)
    root = sha256(sha256(coinbase).digest()).digest()
    for sibling in block["branch"]:
        root = sha256(sha256(root + b(sibling)).digest()).digest()
    head = struct.pack("<I", block["version"]) + certificate[50:82] + root
    return tagged("gristmill/block/v1", head + struct.pack("<I", block["time"]))


def test_evidence() -> None:
    case = V["evidence"]
    for entry in case["accepted"]:
        said, leaf = entry["fields"], entry["leaf"]
        certificate, blocks = b(said["certificate"]), (said["first"], said["second"])
        messages = [winner_message(certificate, block) for block in blocks]
        assert messages[0] != messages[1] and not any(block["evidence"] for block in blocks)
        for message, block in zip(messages, blocks, strict=True):
            ecdsa(b(case["winner"]), b(block["signature"]), message)
        assert certificate[122:155].hex() == leaf["miner"] == case["winner"]
        cycle = struct.unpack_from("<Q", certificate, 37)[0]
        assert leaf["cycle"] == cycle and (leaf["height"], leaf["rank"]) == (5, 2)
        assert leaf["barred_until"] == cycle + 1 + case["barred_cycles"]
        assert pack(fields(said)).hex() == entry["operation"]
        assert pack(fields(leaf)).hex() == entry["leaf_body"]
    words = {entry["why"] for entry in case["refused"]}
    assert words >= {"wrong-cycle", "too-old", "twice", "one-block", "bad-signature"}
    for entry in case["refused"]:
        until = cycle + 1 + case["barred_cycles"]
        by_age = {
            "wrong-cycle": cycle > entry["cycle"],
            "too-old": until <= entry["cycle"] + 1,
            "twice": entry["barred_until"] >= until,
        }
        assert by_age.get(entry["why"], not any(by_age.values()))


def test_finality_and_activation() -> None:
    for case in V["finality"]:
        place = b(case["chain_id"]) + struct.pack(">I", case["height"]) + b(case["block_hash"])
        assert tagged("gristmill/finality/v1", place).hex() == case["message"]
    assert py_ecc_verifies(b(case["federation_key"]), b(case["signature"]), b(case["message"]))
    case = V["federation_key"]
    members = pack(fields(case["record"])[2])
    assert tagged("gristmill.members/1", members).hex() == case["members_digest"]
    epoch = struct.pack(">I", case["epoch"])
    made = b(case["chain_id"]) + epoch + b(case["members_digest"] + "".join(case["commitments"]))
    assert tagged("gristmill/activation/v1", made).hex() == case["activation_message"]
    assert len({entry["signature"] for entry in case["combined"]}) == 1
    encoded = pack(fields(case["record"]))
    assert encoded.hex() == case["encoded"]
    assert tagged("gristmill.federation-key/1", encoded).hex() == case["digest"]


def test_commitments_to_updates() -> None:
    for case in V["commitments"]:
        shown = case["fields"]
        place = struct.pack(">QI", shown["cycle"], shown["unit"])
        data = b(case["chain_id"]) + place + b(case["miner"] + case["update_digest"] + case["salt"])
        assert tagged("gristmill/commitment/v1", data).hex() == shown["commitment"]
