"""Bitcoin Core's own validation engine as an oracle."""

from pathlib import Path
from typing import Any

import pytest

pbk = pytest.importorskip("pbk", reason="needs `pip install py-bitcoinkernel`")


class Kernel:
    """A regtest chain state of Bitcoin Core, in memory, told block by block."""

    def __init__(self, home: Path) -> None:
        self.verdicts: list[bool] = []
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._checked)
        self._callbacks = callbacks  # the engine holds a pointer to it
        self._manager = pbk.load_chainman(home, pbk.ChainType.REGTEST, callbacks)

    def _checked(self, user_data: Any, block: Any, state: Any) -> None:
        self.verdicts.append(state.validation_mode == pbk.ValidationMode.VALID)

    def takes(self, block: bytes) -> bool:
        """Whether it is the new tip."""
        self.verdicts.clear()
        before = self.height
        try:
            self._manager.process_block(pbk.Block(block))
        except pbk.ProcessBlockException:
            return False
        return self.height == before + 1

    @property
    def height(self) -> int:
        return int(self._manager.get_active_chain().height)
