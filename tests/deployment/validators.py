"""Every deployment file before the program that other people wrote for its kind."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from gristmill.testnet.plan import Network, Plan
from gristmill.testnet.write import deployment_files
from tests.deployment.dashboard import FILE, dashboard_json, expressions
from tests.deployment.outcome import DEPLOY, ROOT, Missing, Validator, Wrong, program, told
from tests.deployment.running import testnet_runs

EXTRA = "pip install 'gristmill[deploy-checks]'"
PROMETHEUS = "the package prometheus (apt)"
EXPOSURE_MAX = 20
"""Tenths of systemd's exposure level (0 safe, 100 unsafe); more is a failure."""

UNITS = ("gristmill-replica@.service", "gristmill-node.service", "gristmill-miner.service")
INSTALLED = "/opt/gristmill/bin/gristmill"
"""What the units start.  It is not on the machine that checks them, which a finding would be."""


def dockerfile() -> str:
    """hadolint: Docker's and the shell's good practice."""
    file = DEPLOY / "docker" / "Dockerfile"
    told([program("hadolint", EXTRA), "--failure-threshold", "info", str(file)])
    return "Dockerfile"


def shell() -> str:
    """shellcheck: every script of ours."""
    scripts = [ROOT / "run", ROOT / ".ci" / "run", *sorted(DEPLOY.rglob("*.sh"))]
    # SC2010: what is listed are names of Python versions, which are letters, digits and points.
    options = ["--severity=warning", "--exclude=SC2010"]
    told([program("shellcheck", EXTRA), *options, *map(str, scripts)])
    return f"{len(scripts)} scripts"


def units() -> str:
    """systemd-analyze verify, which warns and ends with 0, so that silence is what counts."""
    analyze = program("systemd-analyze", "systemd")
    with tempfile.TemporaryDirectory() as place:
        copies = _unit_copies(Path(place))
        for copy in copies:
            told([analyze, "verify", "--man=no", "--recursive-errors=no", str(copy)], silent=True)
    return f"{len(copies)} units"


def exposure() -> str:
    """systemd-analyze security: how much a unit may still do."""
    analyze = program("systemd-analyze", "systemd")
    offline = ["security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX}"]
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for copy in _unit_copies(Path(place)):
            said = told([analyze, *offline, str(copy)])
            lines.append(said.strip().rpartition("exposure level for ")[2].split(" ")[1])
    return f"exposure {', '.join(lines)} of 10"


def _unit_copies(place: Path) -> list[Path]:
    """The units as on a machine where the program stands; an instance for a template."""
    copies = []
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        if INSTALLED not in text:
            raise Wrong(f"{name} does not start {INSTALLED}")
        copy = place / name.replace("@.", "@0.")
        copy.write_text(text.replace(INSTALLED, "/bin/true"))
        copies.append(copy)
    return copies


def alert_rules() -> str:
    """promtool check rules."""
    rules = DEPLOY / "prometheus" / "alerts.yaml"
    told([program("promtool", PROMETHEUS), "check", "rules", str(rules)])
    return f"{len(yaml.safe_load(rules.read_text())['groups'][0]['rules'])} alerts"


def alert_tests() -> str:
    """promtool test rules: when each alert comes, and for whom it does not."""
    tests = DEPLOY / "prometheus" / "alerts.test.yaml"
    told([program("promtool", PROMETHEUS), "test", "rules", str(tests)])
    return f"{len(yaml.safe_load(tests.read_text())['tests'])} tests"


def panels() -> str:
    """promtool check rules once more: every panel's expression as if it were a rule."""
    promtool = program("promtool", PROMETHEUS)
    rules = [
        {"record": f"gristmill:panel:{number}", "expr": expr}
        for number, expr in enumerate(expressions())
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        file.flush()
        told([promtool, "check", "rules", file.name])
    return f"{len(rules)} expressions"


def dashboard() -> str:
    """Grafana's SDK makes the committed file again."""
    try:
        made = dashboard_json()
    except ModuleNotFoundError as error:
        raise Missing(f"there is no {error.name}; it comes with {EXTRA}") from None
    if made != FILE.read_text(encoding="utf-8"):
        raise Wrong(f"{FILE} is another one; python -m tests.deployment.dashboard writes it")
    return "gristmill.json"


def compose() -> str:
    """The Compose specification's schema."""
    return _compose(DEPLOY / "compose" / "compose.yaml")


def _compose(file: Path) -> str:
    check = program("check-jsonschema", EXTRA)
    told([check, "--builtin-schema", "vendor.compose-spec", str(file)])
    return f"{len(yaml.safe_load(file.read_text())['services'])} services"


def scraping() -> str:
    """promtool check config: what Prometheus is configured with."""
    promtool = program("promtool", PROMETHEUS)
    file = DEPLOY / "prometheus" / "prometheus.yaml"
    told([promtool, "check", "config", "--syntax-only", str(file)])
    return "prometheus.yaml"


def base() -> str:
    """kubectl kustomize, then every object against Kubernetes' own schemas."""
    return _kubernetes(DEPLOY / "kustomize" / "base")


def _kubernetes(directory: Path) -> str:
    """kustomize builds it, and Kubernetes' schemas know every field of it."""
    kubectl = program("kubectl", "Kubernetes")
    validate = program("kubernetes-validate", EXTRA)
    built = told([kubectl, "kustomize", str(directory)])
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(built)
        file.flush()
        told([validate, "--strict", "--quiet", file.name])
    return f"{sum(1 for one in yaml.safe_load_all(built) if one)} objects"


def written_compose() -> str:
    """What `gristmill testnet` writes for either network."""
    with _written(Network.NAMES) as names, _written(Network.LOOPBACK) as loopback:
        return ", ".join(_compose(root / "compose.yaml") for root in (names, loopback))


def written_units() -> str:
    """The units that `gristmill testnet` writes, all started by its target."""
    analyze = program("systemd-analyze", "systemd")
    with _written(Network.LOOPBACK) as root:
        files = sorted((root / "systemd").iterdir())
        told([analyze, "verify", "--man=no", *map(str, files)], silent=True)
    return f"{len(files)} units"


def written_prometheus() -> str:
    """promtool check config with the alerts that it names."""
    promtool = program("promtool", PROMETHEUS)
    with _written(Network.NAMES) as root:
        told([promtool, "check", "config", str(root / "prometheus" / "prometheus.yaml")])
    return "prometheus.yaml with alerts.yaml"


def written_overlays() -> str:
    """Four operators' overlays of the base."""
    with _written(Network.NAMES) as root:
        return _kubernetes(root / "kubernetes")


@contextmanager
def _written(network: Network) -> Iterator[Path]:
    """A directory with all that `gristmill testnet` writes but the homes, which nobody reads."""
    user = os.getuid()
    with tempfile.TemporaryDirectory() as place:
        plan = Plan(root=Path(place), network=network, standby=network is Network.LOOPBACK)
        files = deployment_files(plan, Path("/bin/true"), user, os.getgid())
        for path, text in files.items():
            file = plan.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        yield plan.root


VALIDATORS = (
    Validator("hadolint", dockerfile),
    Validator("shellcheck", shell),
    Validator("systemd-analyze verify", units),
    Validator("systemd-analyze security", exposure),
    Validator("promtool check rules", alert_rules),
    Validator("promtool test rules", alert_tests),
    Validator("promtool check rules: panels", panels),
    Validator("promtool check config", scraping),
    Validator("grafana-foundation-sdk", dashboard),
    Validator("compose-spec", compose),
    Validator("kubernetes: kustomize base", base),
    Validator("testnet: compose-spec", written_compose),
    Validator("testnet: systemd-analyze verify", written_units),
    Validator("testnet: promtool check config", written_prometheus),
    Validator("testnet: kubernetes", written_overlays),
    Validator("testnet: runs", testnet_runs),
)
