"""The links of a member to all others of its epoch, each under its own certificate."""

from coordinator.config import TLS, Setup
from coordinator.epochs import Place
from coordinator.service import tls
from coordinator.service.lag import Lag
from coordinator.service.peers import Links
from coordinator.service.runtime import Runtime


def make_links(setup: Setup, place: Place, runtime: Runtime, lag: Lag) -> Links:
    """Mutual TLS with every other member; nothing is dialled yet."""
    epoch, index = place.epoch, place.index
    files = (setup.home.tls_certificate, setup.keystore.read(TLS))
    clients = {
        peer: tls.client_context(epoch, peer, *files)
        for peer in range(len(epoch.members))
        if peer != index
    }
    return Links(
        epoch,
        index,
        tls.server_context(epoch, *files),
        clients,
        runtime.deliver,
        runtime.replica.opened,
        lag.hint,
    )
