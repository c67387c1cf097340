"""What the wallet's commands do: load, look at the chain, plan, sign, send, save."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from coincurve import PrivateKey

from bft.codec.canonical import encode
from bft.errors import ConfigError, DecodeError, Refused
from chain.bitcoin.address import GRISTMILL, decode_address, decode_secret, encode_address
from chain.bitcoin.text import amount, parse_amount
from chain.federation.rpc_client import NodeRpc
from chain.node.config import load_genesis
from chain.records.transaction import Transaction, TxOut
from chain.wallet import home as files
from chain.wallet.account import Account, descriptor_of, finder
from chain.wallet.book import CHANGE, KEY, RECEIVE, Book, total
from chain.wallet.build import Plan, build, sweep
from chain.wallet.descriptor import decode_descriptor
from chain.wallet.fees import Outputs, check_fee, told_fee
from chain.wallet.psbt import PARTIAL_SIGNATURE, Psbt, decode_text
from chain.wallet.sealed import KEYS_MAX, Secrets, open_secrets, seal_secrets
from chain.wallet.sign import extract, finalize, sign
from chain.wallet.sync import catch_up
from chain.wallet.words import check_words, seed_of, words_of

KEY_FILE_BYTES_MAX = 256
Passphrase = Callable[[], str]


class Wallet:
    """One wallet, as its directory has it."""

    def __init__(self, home: Path) -> None:
        """Raises ConfigError, DecodeError: no wallet is there, or it is damaged."""
        self._home = home
        self.settings = files.load_settings(home)
        self._account: Account = files.account_of(self.settings)
        self._book: Book = files.load_book(home, self._account, self.settings.birthday)

    # Making one

    @staticmethod
    def init(home: Path, count: int, passphrase: str) -> dict[str, Any]:
        """A new one, with its words."""
        words = words_of(secrets.token_bytes(count * 4 // 3))
        return {**Wallet.restore_words(home, words, "", passphrase), "words": words}

    @staticmethod
    def restore_words(home: Path, text: str, extension: str, passphrase: str) -> dict[str, Any]:
        """The one behind some words.  Raises DecodeError: they are none."""
        words = check_words(text)
        descriptor = descriptor_of(seed_of(words, extension)).encode()
        sealed = seal_secrets(Secrets(words=words, extension=extension), passphrase)
        files.create_home(home, files.Settings(descriptor=descriptor), sealed)
        return {"home": str(home), "descriptor": descriptor}

    @staticmethod
    def restore_backup(home: Path, path: Path) -> dict[str, Any]:
        """The one in a backup file."""
        found = files.read_backup(path)
        files.account_of(found.settings)
        files.create_home(home, found.settings, found.secrets)
        return {"home": str(home), "descriptor": found.settings.descriptor}

    @staticmethod
    def watch(home: Path, text: str) -> dict[str, Any]:
        """One without secrets."""
        descriptor = decode_descriptor(text).encode()
        files.create_home(home, files.Settings(descriptor=descriptor), None)
        return {"home": str(home), "descriptor": descriptor}

    def add_key(self, path: Path, passphrase: Passphrase) -> dict[str, Any]:
        """Takes a single key; the chain is read again for it."""
        with path.open("rb") as opened:
            secret = _secret(opened.read(KEY_FILE_BYTES_MAX + 1), path)
        public = PrivateKey(secret).public_key.format()
        if public in self.settings.keys or len(self.settings.keys) >= KEYS_MAX:
            raise ConfigError(f"this key is here already, or there are {KEYS_MAX} of them")
        word = passphrase()
        plain = open_secrets(files.load_sealed(self._home), word)
        more = msgspec.structs.replace(plain, keys=[*plain.keys, secret])
        # Secrets first: a crash between the two leaves a key that is not watched yet.
        files.save_sealed(self._home, seal_secrets(more, word))
        changed = msgspec.structs.replace(self.settings, keys=[*self.settings.keys, public])
        files.save_settings(self._home, changed)
        files.forget_book(self._home, 0)
        address = files.account_of(changed).address(KEY, len(self.settings.keys))
        return {"address": address, "keys": len(changed.keys)}

    def pin(self, genesis: Path, key: bytes) -> dict[str, Any]:
        """From now on no server is believed; the chain is read again."""
        record = load_genesis(genesis)
        changed = msgspec.structs.replace(self.settings, genesis=encode(record), federation_key=key)
        files.save_settings(self._home, changed)
        files.forget_book(self._home, 0)
        return {"chain_id": record.chain_id.hex(), "federation_key": key.hex()}

    def backup(self, path: Path) -> dict[str, Any]:
        """Writes a backup file."""
        files.write_backup(self._home, path)
        return {"backup": str(path), "secrets": (self._home / files.SECRETS).exists()}

    def rescan(self, from_height: int) -> dict[str, Any]:
        """Forgets what was found."""
        files.forget_book(self._home, from_height)
        return {"from_height": from_height}

    # Looking

    def new_address(self) -> dict[str, Any]:
        """The next one."""
        number = self._book.give(RECEIVE)
        self._save(self._book)
        return {"address": self._account.address(RECEIVE, number), "number": number}

    def balance(self, node: str) -> dict[str, Any]:
        """In coins."""
        self._look(node)
        told = {name: str(amount(value)) for name, value in self._book.balance().items()}
        return {**told, "height": self._book.height}

    def coins(self, node: str) -> dict[str, Any]:
        """One line a coin."""
        self._look(node)
        spendable = {coin.outpoint for coin in self._book.spendable()}
        lines = [
            {
                "outpoint": f"{coin.outpoint[0][::-1].hex()}:{coin.outpoint[1]}",
                "amount": str(amount(coin.output.value)),
                "address": self._account.address(coin.branch, coin.number),
                "height": coin.height,
                "spendable": coin.outpoint in spendable,
            }
            for coin in self._book.coins.values()
        ]
        return {"height": self._book.height, "coins": lines}

    def history(self, node: str) -> dict[str, Any]:
        """One line a transaction, the oldest first."""
        self._look(node)
        past = [
            {
                "height": entry.height,
                "time": entry.time,
                "txid": entry.txid[::-1].hex(),
                "amount": f"{amount(entry.received - entry.spent):+}",
                "fee": None if entry.fee is None else str(amount(entry.fee)),
                "kind": "reward" if entry.coinbase else "payment",
            }
            for entry in self._book.history
        ]
        waiting = [{"txid": txid[::-1].hex()} for txid in self._book.pending]
        return {"height": self._book.height, "history": past, "waiting": waiting}

    def _look(self, node: str) -> None:
        catch_up(self._book, node, self._save, files.pinned_of(self.settings))

    def _save(self, book: Book) -> None:
        files.save_book(self._home, book)

    # Paying

    def prepare(self, node: str, to: str, value: str, fee_rate: int) -> dict[str, Any]:
        """A PSBT without signatures."""
        plan, psbt = self._planned(node, to, value, fee_rate)
        return {"fee": str(amount(plan.fee)), "psbt": psbt.encode_text()}

    def _planned(self, node: str, to: str, value: str, fee_rate: int) -> tuple[Plan, Psbt]:
        script, wanted = decode_address(to, GRISTMILL), parse_amount(value)
        self._look(node)
        spendable, number = self._book.spendable(), self._change()
        if wanted is None:
            plan = sweep(spendable, script, fee_rate, locktime=self._book.height)
        else:
            change = self._account.script(CHANGE, number)
            assert change is not None
            plan = build(
                spendable,
                [TxOut(value=wanted, script=script)],
                change,
                fee_rate,
                locktime=self._book.height,  # as Core does: it fits no block before the next
            )
        return plan, self._account.psbt(plan, (CHANGE, number))

    def _change(self) -> int:
        """A change address that was not used."""
        number = self._book.next_change()
        while self._account.script(CHANGE, number) is None:
            number += 1
        return number

    def send(
        self,
        node: str,
        cookie: Path,
        to: str,
        value: str,
        fee_rate: int,
        dry_run: bool,
        passphrase: Passphrase,
    ) -> dict[str, Any]:
        """Plans, signs and sends."""
        plan, psbt = self._planned(node, to, value, fee_rate)
        made = self._signed(psbt, passphrase)
        if not dry_run:
            self._hand_over(made, node, cookie)
        shown = self._describe(plan, made, not dry_run)
        return {**shown, "hex": made.encode().hex()} if dry_run else shown

    def bump(
        self, node: str, cookie: Path, txid: str, fee_rate: int, passphrase: Passphrase
    ) -> dict[str, Any]:
        """The same payment again, with a higher fee."""
        self._look(node)
        try:
            old = self._book.pending.get(bytes.fromhex(txid)[::-1])
        except ValueError:
            old = None
        if old is None:
            raise Refused("not-pending", f"{txid:.80} is no transaction that waits for a block")
        required = [self._book.coins.get((each.previous, each.index)) for each in old.inputs]
        mine = [coin for coin in required if coin is not None]
        if len(mine) != len(required):
            raise Refused("not-pending", "it spends what is not this wallet's")
        number = self._change()
        change = self._account.script(CHANGE, number)
        assert change is not None
        kept = [output for output in old.outputs if self._branch(output) != CHANGE]
        plan = build(
            self._book.spendable(),
            kept,
            change,
            fee_rate,
            required=mine,
            replaced_fee=total(mine) - sum(output.value for output in old.outputs),
            locktime=self._book.height,
        )
        made = self._signed(self._account.psbt(plan, (CHANGE, number)), passphrase)
        self._hand_over(made, node, cookie)
        return {**self._describe(plan, made, True), "replaces": txid}

    def _branch(self, output: TxOut) -> int | None:
        place = self._book.place_of(output.script)
        return None if place is None else place[0]

    def _signed(self, psbt: Psbt, passphrase: Passphrase) -> Transaction:
        return extract(finalize(self._sign(psbt, passphrase)[0])[0])

    def _sign(self, psbt: Psbt, passphrase: Passphrase) -> tuple[Psbt, int]:
        plain = open_secrets(files.load_sealed(self._home), passphrase())
        seed = seed_of(plain.words, plain.extension)
        singles = [(PrivateKey(each).public_key.format(), each) for each in plain.keys]
        return sign(psbt, finder(seed, singles))

    def sign_text(
        self, text: str, passphrase: Passphrase, fee_max: int | None = None
    ) -> dict[str, Any]:
        """A PSBT with this wallet's signatures.

        Args:
            fee_max: smallest units that it may pay; None: what nobody has to confirm.

        Raises:
            Refused: "other-coin": it lies about a coin that this wallet knows; "fee-too-high"; as
                `sign`.
        """
        psbt, known = decode_text(text), self._known()
        self._check_coins(psbt)
        check_fee(psbt, known, fee_max)
        signed, added = self._sign(psbt, passphrase)
        told = told_fee(psbt, known)
        return {"signatures_added": added, **told, "psbt": signed.encode_text()}

    def _known(self) -> Outputs:
        return {place: coin.output for place, coin in self._book.coins.items()}

    def _check_coins(self, psbt: Psbt) -> None:
        """A signature covers its own input's value alone: two lies, each in another copy of one
        payment, would join to one with a fee that nobody saw (CVE-2020-14199)."""
        for index, entry in enumerate(psbt.unsigned.inputs):
            coin = self._book.coins.get((entry.previous, entry.index))
            shown = psbt.spent(index)
            if coin is not None and shown is not None and shown != coin.output:
                raise Refused(
                    "other-coin",
                    f"input {index} shows a coin of {amount(shown.value)}; "
                    f"this wallet's coin there is of {amount(coin.output.value)}",
                )

    def send_text(
        self, text: str, node: str, cookie: Path, fee_max: int | None = None
    ) -> dict[str, Any]:
        """Finishes a PSBT and sends it; `fee_max` and what is refused as for `sign_text`."""
        psbt = decode_text(text)
        made = extract(finalize(psbt)[0])
        self._look(node)
        known = self._known()
        check_fee(psbt, known, fee_max)
        self._hand_over(made, node, cookie)
        return {"txid": made.txid[::-1].hex(), **told_fee(psbt, known)}

    def _hand_over(self, made: Transaction, node: str, cookie: Path) -> None:
        """To the node; then it is remembered, and the node keeps it whatever happens here."""
        NodeRpc(node, cookie).call("sendrawtransaction", made.encode().hex())
        self._book.send(made)
        self._save(self._book)

    def _describe(self, plan: Plan, made: Transaction, sent: bool) -> dict[str, Any]:
        back = 0 if plan.change is None else made.outputs[plan.change].value
        paid = sum(output.value for output in made.outputs) - back
        return {
            "txid": made.txid[::-1].hex(),
            "amount": str(amount(paid)),
            "fee": str(amount(plan.fee)),
            "change": str(amount(back)),
            "coins": len(plan.chosen),
            "sent": sent,
        }


def _secret(data: bytes, path: Path) -> bytes:
    text = data.decode("ascii", "replace").strip()
    try:
        secret = bytes.fromhex(text) if len(text) == 64 else decode_secret(text, GRISTMILL)[0]
        PrivateKey(secret)
    except (ValueError, DecodeError):
        raise ConfigError(f"{path}: 64 hex digits or an exported key are expected") from None
    return secret


def describe_psbt(text: str) -> dict[str, Any]:
    """Whom a PSBT pays, what it costs, what is signed."""
    psbt = decode_text(text)
    outputs = [
        {
            "amount": str(amount(output.value)),
            "address": encode_address(output.script, GRISTMILL) or output.script.hex(),
        }
        for output in psbt.unsigned.outputs
    ]
    signed = sum(key[0] == PARTIAL_SIGNATURE for each in psbt.inputs for key in each)
    return {
        "txid": psbt.unsigned.txid[::-1].hex(),
        "inputs": len(psbt.inputs),
        "signatures": signed,
        "complete": finalize(psbt)[1],
        **told_fee(psbt),
        "outputs": outputs,
    }
