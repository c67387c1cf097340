"""Where a replica's seeds and key shares stand: one secret of its keystore, written whole.

A write is on the disk when it returns; only then the heart hears of it (coordinator/custody.py).
"""

import asyncio
import logging
import secrets

from bft.codec.canonical import decode, encode
from bft.dkg.secrets import SEED_BYTES, Secrets
from bft.errors import ConfigError, DecodeError
from coordinator.effects import DrawSeed, KeepSecrets, SecretsKept
from coordinator.keys.store import SECRET_BYTES_MAX, Keystore

CEREMONY = "ceremony"
RETRY_S = 1.0  # after the disk refused

log = logging.getLogger("gristmill.vault")


class Vault:
    """The ceremony secrets of one home."""

    def __init__(self, keystore: Keystore) -> None:
        """Raises ConfigError: the file is damaged, or readable by others."""
        self._keystore = keystore
        self.secrets = Secrets()
        if CEREMONY in keystore.names():
            try:
                data = keystore.read(CEREMONY)
                self.secrets = decode(Secrets, data, bytes_max=SECRET_BYTES_MAX)
            except DecodeError:  # its text might show what should not be shown
                path = keystore.path(CEREMONY)
                raise ConfigError(f"{path} holds no seeds and key shares") from None

    async def obey(self, effect: DrawSeed | KeepSecrets) -> SecretsKept:
        """What the heart asks for, durably; as often as the disk needs."""
        if isinstance(effect, DrawSeed):
            changed = self.secrets.with_seed(effect.session, secrets.token_bytes(SEED_BYTES))
        else:
            changed = effect.secrets
        while True:
            try:
                await asyncio.to_thread(self._keystore.write, CEREMONY, encode(changed))
                break
            except OSError as error:
                log.error("%s: %s", self._keystore.path(CEREMONY), error.strerror)
                await asyncio.sleep(RETRY_S)
        self.secrets = changed
        return SecretsKept(changed)
