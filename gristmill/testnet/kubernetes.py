"""A test network's replicas as kustomize overlays of deploy/kustomize/base, one an operator.

Secrets never stand in them: passphrases become Secrets and homes go into volumes by hand, by the
commands in docs/DEPLOYMENT.md.
"""

from typing import Any

import yaml

from gristmill.testnet.plan import Plan

NAMESPACE = "gristmill-testnet"
_KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def overlay_files(plan: Plan) -> dict[str, str]:
    """Path below the overlays' directory, where the base stands as base/ -> text."""
    replicas = range(plan.replicas)
    files = {
        f"replica-{index}/kustomization.yaml": _replica(index) for index in range(plan.replicas)
    }
    whole = {
        **_KUSTOMIZATION,
        "namespace": NAMESPACE,
        "resources": ["namespace.yaml", *(f"replica-{index}" for index in replicas)],
        # Where the nodes of your cluster find the image.
        "images": [{"name": "gristmill", "newName": "gristmill", "newTag": "latest"}],
    }
    files["kustomization.yaml"] = _text(whole)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    }
    files["namespace.yaml"] = _text(namespace)
    return files


def _replica(index: int) -> str:
    """All names end in the replica's number, as the names in the genesis record do."""
    secret = {
        "op": "replace",
        "path": "/spec/template/spec/volumes/0/secret/secretName",
        "value": f"replica-passphrase-{index}",
    }
    instance = {"app.kubernetes.io/instance": f"replica-{index}"}
    return _text(
        {
            **_KUSTOMIZATION,
            "nameSuffix": f"-{index}",
            "resources": ["../base"],
            "labels": [{"pairs": instance, "includeSelectors": True}],
            "patches": [
                {
                    "target": {"kind": "StatefulSet", "name": "replica"},
                    "patch": yaml.safe_dump([secret], sort_keys=False),
                }
            ],
        }
    )


def _text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=100)
