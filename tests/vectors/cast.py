"""Who and what the vectors are about: one federation, its keys, its genesis record."""

from bft.crypto import shamir, threshold
from bft.crypto.hashing import sha256
from bft.crypto.identity import PrivateKey
from bft.crypto.threshold import KeyShare, PublicPolynomial
from bft.membership import Membership
from chain.params import MINIMAL
from chain.records.federation import FederationKey, Genesis, MemberRecord, activation_message
from chain.records.job import Job, Mode, make_sizes

MEMBERS = 4
THRESHOLD = 3


def identity(name: str) -> PrivateKey:
    """The key whose secret is the hash of a name."""
    return PrivateKey(sha256(name.encode()))


REPLICAS = tuple(identity(f"replica {index}") for index in range(MEMBERS))
MINERS = tuple(identity(f"miner {index}") for index in range(5))
JOB = Job(
    name=b"digits",
    family=b"mlp",
    sizes=make_sizes(inputs=64, width=16, depth=2, classes=10),
    mode=Mode.LOCAL_HEADS,
    segments=2,
    redundancy=1,
    dataset=b"digits",
    dataset_digest=sha256(b"dataset"),
    train_records=60,
    heldout_records=40,
    chunk_records=10,
    optimizer=b"adamw",
    steps=10,
    batch_records=32,
    learning_rate_ppm=1_000,
    outer_rate_numerator=1,
    outer_rate_denominator=2,
    outer_momentum=0,
    backtracking=0,
    aggregation=b"mean",
    agreement=0,
    trim=0,
    compression=b"int8",
    keep=0,
    value_bits=8,
    privacy=b"none",
    privacy_parameter=0,
    evaluation=b"fp64",
    fraction_bits=20,
    genesis_model=sha256(b"model"),
)
PARAMS = MINIMAL
GENESIS = Genesis(
    version=1,
    name=b"vectors",
    created_ms=1_800_000_000_123,
    params=PARAMS,
    job=JOB,
    members=tuple(
        MemberRecord(
            operator=f"operator {index}".encode(),
            key=key.public_key,
            tls_certificate=bytes([index]) * 64,
            link=b"127.0.0.1:%d" % (7000 + index),
            api=b"127.0.0.1:%d" % (8000 + index),
        )
        for index, key in enumerate(REPLICAS)
    ),
)
CHAIN_ID = GENESIS.chain_id
MEMBERSHIP = Membership(chain_id=CHAIN_ID, epoch=0, keys=tuple(key.public_key for key in REPLICAS))

POLYNOMIAL = tuple(
    int.from_bytes(sha256(b"coefficient %d" % degree)[:31], "big") for degree in range(THRESHOLD)
)
PUBLIC = PublicPolynomial(commitments=shamir.commit(POLYNOMIAL))
SHARES = tuple(
    KeyShare(index=index, secret=shamir.evaluate(POLYNOMIAL, index + 1)) for index in range(MEMBERS)
)


def sign(message: bytes, signers: tuple[int, ...] = (0, 1, 2)) -> bytes:
    """The federation's signature: the same whoever signs."""
    shares = {index: threshold.sign_share(SHARES[index], message) for index in signers}
    return threshold.combine(PUBLIC, message, shares)[0]


KEY_RECORD = FederationKey(
    chain_id=CHAIN_ID,
    epoch=0,
    members=GENESIS.members,
    commitments=PUBLIC.commitments,
    qualified=(0, 1, 3),
    activation=sign(activation_message(CHAIN_ID, 0, GENESIS.members, PUBLIC.commitments)),
)
FEDERATION_KEY = PUBLIC.federation_key
OTHER_POINT = shamir.commit((7,))[0]
"""Another key, valid by itself."""
