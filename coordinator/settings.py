"""The settings of one replica: what replica.yaml may say, each with its bounds and its default.

Settings say how soon a result is known, never what it is: what all must share stands in the genesis
record.  `gristmill config` and docs/CONFIGURATION.md are made of these types.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from chain.settings import says
from coordinator.keys.passphrase import UNSAID, PassphraseSource

Positive = Annotated[int, Meta(ge=1)]
Address = Annotated[
    str,
    Meta(
        pattern=r"^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):[0-9]{1,5}$", max_length=255, title="host:port"
    ),
]
"""host:port; an IPv6 address stands in brackets."""


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A typo is an error with its path, never a default."""


class Listen(_Settings, frozen=True):
    """Where this replica listens, if not at the addresses of its member record."""

    link: Annotated[
        Address | None, says("Mutual TLS, for other replicas only.", "0.0.0.0:7400")
    ] = None
    api: Annotated[Address | None, says("Plain HTTP, for everybody.", "0.0.0.0:7401")] = None
    metrics: Annotated[
        Address | None,
        says(
            "Prometheus, /livez and /readyz for the operator's own monitoring.  Left out: nowhere.",
            "127.0.0.1:7402",
        ),
    ] = None


class Storage(_Settings, frozen=True):
    """Where artifacts are kept, and how much room they may take."""

    blobs_bytes_max: Annotated[
        Positive, says("Bytes of models and updates; beyond it uploads are refused with 507.")
    ] = 16 * 1024**3
    artifacts: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*$",
                max_length=512,
                title="s3://bucket/prefix",
            ),
        ]
        | None,
        says(
            "Where models and updates are kept: an S3 bucket and a prefix of this replica alone, "
            "with credentials from the environment (AWS_ACCESS_KEY_ID and so on).  Left out: the "
            "home's own directory.",
            "s3://bucket/replica-2",
        ),
    ] = None


class Limits(_Settings, frozen=True):
    """What strangers may ask of this replica."""

    address_requests_s: Annotated[
        Positive,
        says("Requests, uploads and blocks in a second, sustained, from one client's address."),
    ] = 200
    address_burst: Annotated[Positive, says("Requests at once from one client's address.")] = 400
    address_reads_s: Annotated[
        Positive,
        says(
            "Questions in a second, sustained, from one client's address; a page counts for ten.  "
            "This machine's own are not counted: a reverse proxy brings everybody."
        ),
    ] = 200
    address_reads_burst: Annotated[
        Positive, says("Questions at once from one client's address.")
    ] = 1000
    client_requests_s: Annotated[
        Positive, says("Requests in a second, sustained, under one signing key.")
    ] = 20
    client_burst: Annotated[Positive, says("Requests at once under one signing key.")] = 64
    body_s: Annotated[
        Positive, says("Seconds for a request or block; who takes longer is a slow sender.")
    ] = 30
    head_s: Annotated[
        Positive, says("Seconds after which a connection without a whole request head is closed.")
    ] = 10
    idle_s: Annotated[
        Positive, says("Seconds after an answer by which the next request head must be whole.")
    ] = 30
    connections: Annotated[Positive, says("To the API, at the same time.")] = 512
    uploads: Annotated[Positive, says("Uploads at the same time.")] = 16
    listeners: Annotated[Positive, says("Listeners of /v1/events at the same time.")] = 64
    answers_bytes: Annotated[
        Positive, says("Bytes of artifacts and log ranges on their way out, together.")
    ] = 256 * 1024**2


class Evaluation(_Settings, frozen=True):
    """How this replica measures updates: how soon a score is known, never what it is."""

    workers: Annotated[Positive, says("Processes; each holds one model.")] = 1


FileName = Annotated[str, Meta(min_length=1, max_length=4096, title="path")]


class GuardSettings(_Settings, frozen=True):
    """Where the memory of what the keys have signed is kept."""

    path: Annotated[
        FileName,
        says(
            "Relative to the home.  On another disk than the journal an old copy of the home that "
            "is put back does not take it along."
        ),
    ] = "guard.db"


class EtcdTls(_Settings, frozen=True):
    """Files for mutual TLS with etcd, relative to the home."""

    authority: Annotated[FileName, says("PEM: who signed the servers' certificates.")]
    certificate: Annotated[FileName, says("PEM: ours.")]
    key: Annotated[FileName, says("PEM: ours.")]
    server_name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253)] | None,
        says("The name in the servers' certificates, where it is not the host's."),
    ] = None


class Standby(_Settings, frozen=True):
    """Several processes with this one identity: whoever holds the key in etcd votes."""

    etcd: Annotated[
        tuple[Address, ...],
        Meta(min_length=1, max_length=16),
        says("Addresses of your etcd; several are all IPv4 or all [IPv6]."),
    ]
    tls: Annotated[EtcdTls | None, says("Left out: plain text, which only loopback may speak.")] = (
        None
    )
    lease_s: Annotated[
        int, Meta(ge=2, le=60), says("Seconds; a standby takes over at most so much later.")
    ] = 5


class WitnessSettings(_Settings, frozen=True):
    """A witness outside the federation (C2SP tlog-witness) that cosigns checkpoints of the log."""

    url: Annotated[
        str,
        Meta(min_length=1, max_length=512, pattern="^https?://", title="URL"),
        says("Where it answers."),
    ]
    vkey: Annotated[
        str,
        Meta(min_length=1, max_length=512),
        says("Its verifier key, of the type cosignature/v1."),
    ]


class ReplicaConfig(_Settings, frozen=True):
    """All settings of one replica."""

    api_version: Annotated[Literal["gristmill/v1"], says("Of this file's shape.")]
    kind: Annotated[Literal["Replica"], says("Whose settings these are.")]
    listen: Annotated[
        Listen, says("Where this replica listens, if not at the addresses of its member record.")
    ] = Listen()
    storage: Annotated[Storage, says("Where artifacts are kept, and how much they may take.")] = (
        Storage()
    )
    limits: Annotated[Limits, says("What strangers may ask of this replica.")] = Limits()
    evaluation: Annotated[
        Evaluation, says("How updates are measured: how soon a score is known, never what it is.")
    ] = Evaluation()
    guard: Annotated[
        GuardSettings, says("Where the memory of what the keys have signed is kept.")
    ] = GuardSettings()
    witnesses: Annotated[
        tuple[WitnessSettings, ...],
        Meta(max_length=16),
        says(
            "Witnesses outside the federation (C2SP tlog-witness) that cosign the log.",
            [{"url": "https://witness.example", "vkey": "NAME+ID+KEY"}],
        ),
    ] = ()
    standby: Annotated[
        Standby | None,
        says(
            "Several processes with this identity: whoever holds its key in etcd votes.  Left out: "
            "this is the only one.",
            {"etcd": ["127.0.0.1:2379"]},
        ),
    ] = None
    passphrase: Annotated[
        PassphraseSource,
        says(
            "Where the passphrase of the keys is: one of file, credential and command.",
            {"credential": "gristmill-passphrase"},
        ),
    ] = UNSAID
    watts_per_core: Annotated[
        int,
        Meta(ge=1, le=1000),
        says("Assumed in its own energy report, where no energy counter can be read."),
    ] = 15
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        says("debug tells every attempt of a link."),
    ] = "info"
