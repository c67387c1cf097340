"""docs/AUDITING.md lists every rule that a finding can name."""

import re
from pathlib import Path

from chain.records import score_log

ROOT = Path(__file__).resolve().parents[3]


def test_every_rule_stands_in_the_auditors_page() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "chain/audit").glob("*.py"))
    )
    named = re.findall(r'(?:_break|accuse)\(\s*"([a-z-]+)"', source)
    named += re.findall(r'rule="([a-z-]+)"', source)
    named += re.findall(r'_finding\([^,"]*, "([a-z-]+)"', source)
    named += re.findall(r'Severity\.BROKEN, "([a-z-]+)"', source)
    named += [f"dkg-{fault}" for fault in re.findall(r'b"([a-z]+-[a-z]+)":', source)]
    derived = [kind for kind in score_log._KINDS if kind != b"log.ordered/1"]
    named += [kind.decode().removeprefix("log.").split("/")[0] for kind in derived]
    page = (ROOT / "docs/AUDITING.md").read_text(encoding="utf-8")
    assert len(set(named)) > 30
    assert [rule for rule in sorted(set(named)) if f"`{rule}`" not in page] == []
