"""Every deployment file before the program that other people wrote for its kind."""

import tempfile
from pathlib import Path

import yaml

from tests.deployment.outcome import DEPLOY, ROOT, Validator, Wrong, program, told

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


VALIDATORS = (
    Validator("hadolint", dockerfile),
    Validator("shellcheck", shell),
    Validator("systemd-analyze verify", units),
    Validator("systemd-analyze security", exposure),
    Validator("promtool check rules", alert_rules),
    Validator("promtool check config", scraping),
    Validator("kubernetes: kustomize base", base),
)
