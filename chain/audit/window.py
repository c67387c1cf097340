"""At most once: which requests of a client were executed already.

Written for the auditor alone, from the rule: a request is fresh iff its cseq is above the client's
highest executed one, or less than CSEQ_WINDOW below it and not executed.  Beyond CLIENTS_MAX
clients, the one whose last execution is longest ago is forgotten.
Pure.
"""

from collections.abc import Iterable, Iterator

from bft.ordering.request import CLIENTS_MAX, CSEQ_WINDOW


class RequestWindow:
    """Executed (client, cseq) pairs, as far as the rule remembers them."""

    def __init__(self, executed: Iterable[tuple[bytes, Iterable[int]]] = ()) -> None:
        """`executed`: what another window remembers, as it was iterated over."""
        self._executed = {client: frozenset(cseqs) for client, cseqs in executed}
        # The least recently executed client stands first.

    def __iter__(self) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """(client, its executed numbers, ascending), the client longest ago first."""
        for client, cseqs in self._executed.items():
            yield client, tuple(sorted(cseqs))

    def fresh(self, client: bytes, cseq: int) -> bool:
        """Whether the request may be executed."""
        executed = self._executed.get(client)
        if executed is None:
            return True
        highest = max(executed)
        return cseq > highest - CSEQ_WINDOW and cseq not in executed

    def mark(self, client: bytes, cseq: int) -> None:
        """The request was executed."""
        executed = self._executed.pop(client, frozenset()) | {cseq}
        oldest = max(executed) - CSEQ_WINDOW
        self._executed[client] = frozenset(number for number in executed if number > oldest)
        if len(self._executed) > CLIENTS_MAX:
            del self._executed[next(iter(self._executed))]
