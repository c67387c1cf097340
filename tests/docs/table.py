"""What a page leaves to its reader, so that its commands can be run here as they stand.

A page says `genesis.bin` and `replica:7401`; a scene puts the file there and says which address
that is.  What cannot be run here is named with the reason, and with what runs it instead; a command
that is in neither table is run.
"""

from typing import NamedTuple


class Scene(NamedTuple):
    """What surrounds a page's commands."""

    before: tuple[str, ...] = ()  # shell lines; $FED is the federation's directory
    changed: tuple[tuple[str, str], ...] = ()  # text in a command -> what it is here
    federation: bool = False  # whether one runs meanwhile, with a miner


class Way(NamedTuple):
    """How one command is run, if not simply to its end with status 0."""

    before: tuple[str, ...] = ()  # shell lines just before it
    until: str = ""  # it runs beside the others, and the page goes on when this is true
    stays: bool = False  # and then it is left running, else ended
    status: int = 0


_OWNERS = "tests/membership runs adding, replacing and refreshing members on real replicas"

_ETCD = "needs three nodes of etcd; tests/deploy/test_etcd_roles.py types these lines to such"

_SNAPSHOT = "its digest is the reader's; tests/chain/snapshot loads files and runs such nodes"

_JAVASCRIPT = "its chain id is the reader's; tests/interop/test_audit_log.py audits logs with it"

SKIPPED: dict[str, dict[str, str]] = {
    "README.md": {
        "git clone": "a clone of this repository; CI's first step is one",
        "./run": "needs that clone; CI runs both in it, tests/gristmill/test_run_script.py too",
    },
    "docs/OPERATING.md": {
        "gristmill operator propose --home ada --replace": _OWNERS,
        "gristmill operator accept --home bob": _OWNERS,
        "gristmill operator status --home ada": _OWNERS,
        "export ETCDCTL": _ETCD,
        "etcdctl": _ETCD,
    },
    "docs/DEPLOYMENT.md": {
        "docker": "needs Docker; python -m tests.deployment validates both files",
        "sudo": "changes a machine; python -m tests.deployment starts each unit's command",
        "kubectl": "needs a cluster; python -m tests.deployment builds and validates the objects",
        "tar -C net/replica-0": "as kubectl",
        "promtool": "python -m tests.deployment runs both, where Prometheus is installed",
    },
    "docs/MINING.md": {"pip install": "an index of packages; CI installs the same"},
    "docs/NODES.md": {
        "pip install": "an index of packages; CI installs the same",
        "gristmill node snapshot load": _SNAPSHOT,
        "gristmill node run --home other": _SNAPSHOT,
    },
    "docs/AUDITING.md": {"aics-tlog": "needs Python 3.12; tests/interop/test_tlog.py runs it"},
    "docs/INTEROP.md": {"bitcoind": "Bitcoin Core is not here; tests/chain holds its engine"},
    "examples/README.md": {
        "cd examples": "a clone of this repository",
        "gristmill audit --from": _JAVASCRIPT,
        "node audit-log": _JAVASCRIPT,
        "npm install": "npm's registry; CI installs it, tests/interop/test_noble.py uses it",
        "python3 -m http.server": "serves until somebody stops it; tests/interop uses the page",
    },
}
"""Page -> the command's beginning -> why it is not run here."""

_GENESIS = "cp $FED/founded/genesis.bin ."
_RICH = (
    "mkdir paid && $PYTHON -m tests.docs.rich paid && ln -s paid/* .",
    "gristmill node run --home node & until curl -s http://127.0.0.1:7501/ >/dev/null; do "
    "sleep 0.2; done",
)
_DATA = "$XDG_DATA_HOME/gristmill"

SCENES: dict[str, Scene] = {
    "README.md": Scene(changed=(("http://replica:7401", "$REPLICA"),), federation=True),
    "docs/MINING.md": Scene(
        before=(*_RICH, "rm genesis.bin", _GENESIS),  # two chains: ours, and one with old rewards
        changed=(("D/replica-0/genesis.bin", "genesis.bin"), ("gr1...", "$(cat to)")),
        federation=True,
    ),
    "docs/AUDITING.md": Scene(
        before=(
            _GENESIS,
            'CHAIN=$(gristmill federation show --genesis genesis.bin | sed -n "1s/.*chain //p")',
        ),
        changed=(
            ("replica-0.example:8080", "$REPLICA"),
            ("replica-1.example:8080", "$REPLICA_1"),
            ("f250ca64...9434e", "$CHAIN"),
        ),
        federation=True,
    ),
    "docs/NODES.md": Scene(
        before=(
            _GENESIS,
            "gristmill node run --home other --genesis genesis.bin --ask-members "
            "--replica $REPLICA --p2p 127.0.0.1:7590 --http 127.0.0.1:7591 &",
            "until gristmill node tip --url http://127.0.0.1:7591 | grep -q '^height *[1-9]'; do "
            "sleep 1; done",
            "cp other/federation-key.hex federation.key",
        ),
        changed=(("203.0.113.5:7500", "127.0.0.1:7590"),),
        federation=True,
    ),
    "docs/WALLET.md": Scene(
        before=(
            *_RICH,
            "export GRISTMILL_WALLET_INIT_PASSPHRASE_FILE=passphrase",
            "export GRISTMILL_WALLET_RESTORE_PASSPHRASE_FILE=passphrase",
            "export GRISTMILL_WALLET_SEND_PASSPHRASE_FILE=passphrase",
            "export GRISTMILL_WALLET_BUMP_PASSPHRASE_FILE=passphrase",
            "export GRISTMILL_WALLET_ADD_KEY_PASSPHRASE_FILE=passphrase",
            "export GRISTMILL_WALLET_PSBT_SIGN_PASSPHRASE_FILE=passphrase",
            "gristmill wallet init --home other >/dev/null",
            "gristmill wallet restore --home offline --words-file words >/dev/null",
            "export GRISTMILL_WALLET_PSBT_SIGN_HOME=offline",
        ),
        changed=(
            ("gr1q...", "$(cat to)"),
            ("TXID", "$(sed -n 's/^txid *//p' last)"),
            (
                "'wpkh([1a2b3c4d/84h/26482h/0h]xpub6C.../<0;1>/*)#x7tq2w9n'",
                '"$(gristmill wallet descriptor --home offline | sed "s/^descriptor *//")"',
            ),
        ),
    ),
    "docs/JOBS.md": Scene(
        before=(
            _GENESIS,
            "cp -r $FED/ada .",
            "until [ -e $FED/miner/certificates/*1.json ]; do sleep 1; done",
        ),
        changed=(("fashion-cnn", "digits"), ("--job job  ", "--job job --cycles 1 --plain  ")),
        federation=True,
    ),
}
"""Page -> its scene; a page without one is run in an empty directory."""

WAYS: dict[str, dict[str, Way]] = {
    "docs/MINING.md": {
        "gristmill miner run --home me": Way(
            until='grep -q \'"block"\\|"scored"\' me/events.jsonl'
        ),
        "gristmill miner run": Way(until=f"grep -q '\"scored\"' {_DATA}/miner/events.jsonl"),
        "gristmill miner address": Way(
            before=(
                "export GRISTMILL_MINER_ADDRESS_HOME=rich GRISTMILL_MINER_BALANCE_HOME=rich",
                "export GRISTMILL_MINER_SEND_HOME=rich",
            )
        ),
    },
    "docs/NODES.md": {
        "gristmill node run": Way(
            until="gristmill node tip --home node | grep -q '^height *[1-9]'", stays=True
        )
    },
}
"""Page -> the command's beginning -> how it is run; the first that fits."""


def skipped(page: str, command: str) -> str | None:
    """Why a command is not run here; None: it is."""
    for beginning, reason in SKIPPED.get(page, {}).items():
        if command.startswith(beginning):
            return reason
    return None


def way_of(page: str, command: str) -> Way:
    """How a command is run."""
    for beginning, way in WAYS.get(page, {}).items():
        if command.startswith(beginning):
            return way
    return Way()
