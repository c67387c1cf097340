"""A test network as compose.yaml: every process in a container, Prometheus and Grafana beside."""

from typing import Any

import yaml

from gristmill.testnet.plan import (
    API,
    CREDENTIAL,
    ETCD,
    HTTP,
    LINK,
    METRICS,
    P2P,
    STANDBY,
    Plan,
    port_of,
)

IMAGE = "${GRISTMILL_IMAGE:-gristmill}"
PROMETHEUS_IMAGE = "docker.io/prom/prometheus:v3.5.0"
ETCD_IMAGE = "quay.io/coreos/etcd:v3.6.4"
GRAFANA_IMAGE = "docker.io/grafana/grafana:12.1.0"
HOME = "/var/lib/gristmill/home"  # in a container
PUBLISHED_FIRST = 7401  # of the APIs, on the host's loopback; ten apart
PUBLISHED_STEP = 10
PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3000

_ASK = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}{path}', timeout=3)"
_HEADER = """\
# Written by `gristmill testnet`: {replicas} replicas, {miners} miners, {nodes} nodes, Prometheus \
and Grafana on one machine.
#   docker build -f deploy/docker/Dockerfile -t gristmill .      (in gristmill's repository)
#   docker compose up --detach --wait                            (here)
# A rehearsal: in earnest every operator has a machine of his own, and its passphrase alone.
"""


def compose_file(plan: Plan, owner: str) -> str:
    """The text.

    Args:
        owner: "uid:gid" of the homes.
    """
    services: dict[str, Any] = {}
    for name in plan.names:
        services[name] = _SERVICE[name.partition("-")[0]](plan, int(name.partition("-")[2]), owner)
    if plan.standby:
        services[STANDBY] = _replica(plan, 0, owner, STANDBY)
        # The key's first holder is the one whose guard knows what was signed.
        services[STANDBY]["depends_on"] = {"replica-0": {"condition": "service_healthy"}}
        _share_etcd(plan, services)
    services["prometheus"] = _prometheus(plan)
    services["grafana"] = _grafana(plan)
    document: dict[str, Any] = {"name": "gristmill-testnet", "services": services}
    if not plan.plain_keys:
        document["secrets"] = {
            f"passphrase-{index}": {"file": f"./secrets/replica-{index}/{CREDENTIAL}"}
            for index in range(plan.replicas)
        }
    kept = ("prometheus", "grafana", *(("etcd",) if plan.standby else ()))
    document["volumes"] = {name: {} for name in kept}
    header = _HEADER.format(replicas=plan.replicas, miners=plan.miners, nodes=plan.nodes)
    return header + yaml.safe_dump(document, sort_keys=False, width=100)


def _share_etcd(plan: Plan, services: dict[str, Any]) -> None:
    """Replica 0, its standby and etcd have one network address: whoever votes is who listens."""
    services["etcd"] = etcd = {
        "image": ETCD_IMAGE,
        "command": [
            "etcd",
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls=http://{ETCD}",
            f"--advertise-client-urls=http://{ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
        "volumes": ["etcd:/var/lib/etcd"],
        "restart": "unless-stopped",
        "mem_limit": "512m",
        **_locked(plan),
    }
    if plan.loopback:
        return
    etcd["networks"] = {"default": {"aliases": ["replica-0"]}}
    etcd["ports"] = services["replica-0"]["ports"]
    for name in ("replica-0", STANDBY):
        del services[name]["ports"]
        services[name]["network_mode"] = "service:etcd"


def _replica(plan: Plan, index: int, owner: str, name: str = "") -> dict[str, Any]:
    metrics = port_of(plan.metrics(index))
    made = _ours(plan, name or f"replica-{index}", owner, ["operator", "run", "--home", HOME])
    made["environment"] = {"GRISTMILL_REPLICA__LISTEN__METRICS": plan.metrics(index)}
    if not plan.loopback:
        made["environment"] = {
            "GRISTMILL_REPLICA__LISTEN__LINK": f"0.0.0.0:{LINK}",
            "GRISTMILL_REPLICA__LISTEN__API": f"0.0.0.0:{API}",
            "GRISTMILL_REPLICA__LISTEN__METRICS": f"0.0.0.0:{METRICS}",
        }
        published = PUBLISHED_FIRST + PUBLISHED_STEP * index
        made["ports"] = [f"127.0.0.1:{published}:{API}"]
    if not plan.plain_keys:
        made["environment"]["CREDENTIALS_DIRECTORY"] = "/run/secrets"
        made["secrets"] = [{"source": f"passphrase-{index}", "target": CREDENTIAL}]
    # Status 1 and 3 ask for a person; three attempts are enough for anything else.
    made["restart"] = "on-failure:3"
    made["healthcheck"] = _health(metrics, "/readyz")
    made["mem_limit"] = "2g"
    return made


def _miner(plan: Plan, index: int, owner: str) -> dict[str, Any]:
    made = _ours(plan, f"miner-{index}", owner, ["miner", "run", "--home", HOME, "--plain"])
    made["restart"] = "on-failure"
    made["mem_limit"] = "2g"
    return made


def _node(plan: Plan, index: int, owner: str) -> dict[str, Any]:
    made = _ours(plan, f"node-{index}", owner, ["node", "run", "--home", HOME, "--verbose"])
    if not plan.loopback:
        made["environment"] = {
            "GRISTMILL_NODE__P2P": f"0.0.0.0:{P2P}",
            "GRISTMILL_NODE__HTTP": f"0.0.0.0:{HTTP}",
        }
    # It ends until the federation has a key that it can derive.
    made["restart"] = "on-failure"
    made["healthcheck"] = _health(port_of(plan.http(index)), "/v1/status")
    made["mem_limit"] = "512m"
    return made


_SERVICE = {"replica": _replica, "miner": _miner, "node": _node}


def _ours(plan: Plan, name: str, owner: str, command: list[str]) -> dict[str, Any]:
    """What all of ours have in common: no root, no capabilities, one writable directory."""
    made = {
        "image": IMAGE,
        "command": command,
        "user": owner,
        "volumes": [f"./{name}:{HOME}"],
        "tmpfs": ["/tmp"],
        "stop_grace_period": "60s",
        "pids_limit": 256,
        **_locked(plan),
    }
    return made


def _locked(plan: Plan) -> dict[str, Any]:
    made: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    return {"network_mode": "host", **made} if plan.loopback else made


def _health(port: int, path: str) -> dict[str, Any]:
    return {
        "test": ["CMD", "python", "-c", _ASK.format(port=port, path=path)],
        "interval": "10s",
        "timeout": "5s",
        "retries": 6,
        "start_period": "60s",
    }


def _prometheus(plan: Plan) -> dict[str, Any]:
    listen = f"127.0.0.1:{PROMETHEUS_PORT}" if plan.loopback else f"0.0.0.0:{PROMETHEUS_PORT}"
    made = {
        "image": PROMETHEUS_IMAGE,
        "command": [
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/prometheus",
            f"--web.listen-address={listen}",
        ],
        "volumes": ["./prometheus:/etc/prometheus:ro", "prometheus:/prometheus"],
        "restart": "unless-stopped",
        "mem_limit": "1g",
        **_locked(plan),
    }
    return made if plan.loopback else made | {"ports": [f"127.0.0.1:{PROMETHEUS_PORT}:9090"]}


def _grafana(plan: Plan) -> dict[str, Any]:
    made = {
        "image": GRAFANA_IMAGE,
        "environment": {
            "GF_AUTH_ANONYMOUS_ENABLED": "true",  # who reaches it reads; nobody can log in
            "GF_AUTH_DISABLE_LOGIN_FORM": "true",
            "GF_SERVER_HTTP_ADDR": "127.0.0.1" if plan.loopback else "0.0.0.0",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": (
                "/etc/grafana/provisioning/dashboards/gristmill.json"
            ),
        },
        "volumes": ["./grafana:/etc/grafana/provisioning:ro", "grafana:/var/lib/grafana"],
        "tmpfs": ["/tmp"],
        "depends_on": ["prometheus"],
        "restart": "unless-stopped",
        "mem_limit": "512m",
        **_locked(plan),
    }
    return made if plan.loopback else made | {"ports": [f"127.0.0.1:{GRAFANA_PORT}:3000"]}
