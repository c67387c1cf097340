"""The report for people: one page, nothing loaded from anywhere, verdict and findings first.

Pure: parts of the page, one after the other, so that a long log needs no more memory than a short.
"""

import html
from collections.abc import Callable, Iterable, Iterator, Sequence

from chain.audit.blocks import Chain
from chain.audit.findings import AuditReport, CycleSummary, Finding, Severity
from chain.audit.html_cycles import cycle_parts, grouped
from chain.audit.html_words import DEFAULT_MEANING, MEANINGS, STYLE, WORDS
from chain.audit.noted import Noted
from chain.audit.split import Copy

PLACES_SHOWN_MAX = 50
"""Places of findings of one kind that are listed."""
REMARKABLE_MAX = 20
"""Cycles with findings whose scores and draw are told however old they are."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def pages(
    report: AuditReport,
    cycles: Iterable[CycleSummary],
    copies: Sequence[Copy],
    notes: Sequence[Noted],
    date: Callable[[int], str],
    chains: Sequence[Chain] = (),
    operators: Sequence[str] = (),
    *,
    pinned: bool = True,
) -> Iterator[str]:
    """The whole page.

    Args:
        date: Unix seconds as people write them.
        operators: what the members of epoch 0 call themselves, by index.
        pinned: whether the reader said which chain this has to be.
    """
    name = html.escape(report.name)
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>Audit of {name}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Audit of the federation “{name}”</h1>"
    )
    yield from _verdict(report, operators, pinned=pinned)
    yield from _findings(report, operators)
    yield from _checked(report, [*copies, *chains], notes, date, pinned=pinned)
    yield "<h2>Cycle by cycle</h2>"
    yield (
        "<p>In each cycle miners train parts of a model, replicas measure what each part is worth, "
        "and a lottery weighted by these scores draws who makes the block. Open a cycle to see how "
        "its scores and its draw came about.</p>"
    )
    if report.before is not None:
        yield f"<p>Not told again here: {html.escape(report.before.line())}.</p>"
    remarkable = sorted({finding.cycle for finding in report.findings})[:REMARKABLE_MAX]
    yield from cycle_parts(cycles, remarkable, date)
    yield "<h2>Words</h2><dl>"
    for word, meaning in WORDS:
        yield f"<dt>{word}</dt><dd>{meaning}.</dd>"
    yield "</dl></main></body></html>\n"


def _verdict(report: AuditReport, operators: Sequence[str], *, pinned: bool) -> Iterator[str]:
    accused = sorted({(f.epoch, index) for f in report.accusations for index in f.replicas})
    names = ", ".join(_replica(index, epoch, operators) for epoch, index in accused)
    if not report.passed:
        kind, verdict = "failed", "FAILED. This copy of the log breaks the federation's own rules."
        meaning = (
            "At least one thing in this copy cannot have come about by the rules. The first "
            "finding below says where that begins; what stands after it could not be recomputed."
        )
        todo = (
            "Do not rely on this copy. Audit a copy of another replica. If that one passes, the "
            "server of this one altered its copy or is broken: tell its operator. If all copies "
            "fail in the same way, tell all operators, and keep this report and a copy of the log "
            "(--save)."
        )
    elif accused:
        kind, verdict = "accused", f"PASSED, with accusations against {names}."
        meaning = (
            "Every score, draw and certificate was recomputed and is right. The replicas that "
            "are named signed what does not fit; the rules withstood it, and it changed no score, "
            "winner or block."
        )
        todo = (
            "You can rely on the results. Ask the operators that are named, and show them the "
            "findings; --evidence writes what proves an accusation to anybody else."
        )
    else:
        kind, verdict = "passed", "PASSED. Everything in this log follows from the rules."
        meaning = "Every score, every draw and every certificate was recomputed and is right."
        todo = (
            "Nothing. Audit again from time to time with the same --state: that also shows that "
            "nobody rewrote what you have seen."
        )
    yield f'<p class="verdict {kind}" role="status">{verdict}</p>'
    yield f"<p><strong>What it means.</strong> {meaning}</p>"
    yield f"<p><strong>What to do.</strong> {todo}</p>"
    if not pinned:
        yield (
            "<p><strong>Whose log is it?</strong> Nobody told this audit which chain to expect; "
            "it took the one that the server named. Compare the chain id below with what somebody "
            "whom you trust says, or audit again with --chain-id.</p>"
        )


def _replica(index: int, epoch: int, operators: Sequence[str]) -> str:
    """A replica's number, and whose it is where that is known."""
    if epoch:
        return f"replica {index} of epoch {epoch}"
    named = f" ({html.escape(operators[index])})" if index < len(operators) else ""
    return f"replica {index}{named}"


def _findings(report: AuditReport, operators: Sequence[str]) -> Iterator[str]:
    yield "<h2>Findings</h2>"
    if not report.findings:
        yield "<p>None.</p>"
        return
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in sorted(report.findings, key=_order):
        kind = (finding.severity, finding.rule, finding.replicas, finding.epoch)
        groups.setdefault(kind, []).append(finding)
    for group in groups.values():
        yield from _group(group, operators)
    if report.findings_left_out:
        yield f"<p>{report.findings_left_out} more are counted and not listed.</p>"


def _group(group: Sequence[Finding], operators: Sequence[str]) -> Iterator[str]:
    """Findings of one kind: what it means once, and each place."""
    first, count = group[0], len(group)
    broken = first.severity is Severity.BROKEN
    who = ", ".join(_replica(index, first.epoch, operators) for index in first.replicas)
    title = "Does not follow" if broken else "Accusation"
    title += f": {html.escape(first.rule)}"
    title += f", signed by {who}" if who else ""
    title += f", {count} times" if count > 1 else ""
    yield f'<section class="finding {first.severity.value}"><h3>{title}</h3>'
    yield f"<p>{MEANINGS.get(first.rule, DEFAULT_MEANING)}</p>"
    if count > 1:
        yield f"<details><summary>{'First' if broken else 'Such as'}: {_place(first)}</summary><ul>"
        for finding in group[1:PLACES_SHOWN_MAX]:
            yield f"<li>{_place(finding)}</li>"
        yield "</ul>"
        if count > PLACES_SHOWN_MAX:
            yield f"<p>And {count - PLACES_SHOWN_MAX} more; --json lists them.</p>"
        yield "</details>"
    else:
        yield f"<p>{_place(first)}</p>"
    yield "</section>"


def _place(finding: Finding) -> str:
    cycle = f"cycle {finding.cycle}, " if finding.cycle else ""
    return f"{cycle}entry {finding.entry}: {html.escape(finding.text)}"


def _order(finding: Finding) -> tuple[bool, int]:
    return finding.severity is not Severity.BROKEN, finding.entry


def _checked(
    report: AuditReport,
    copies: Sequence[Copy | Chain],
    notes: Sequence[Noted],
    date: Callable[[int], str],
    *,
    pinned: bool,
) -> Iterator[str]:
    root = report.log_root.hex() if report.log_root else "unknown: an entry is damaged"
    key = report.federation_key.hex() if report.federation_key else "not made yet"
    trusted = "as you said" if pinned else "as the server said"
    yield "<h2>What was audited</h2><dl>"
    for name, value in (
        (f"Chain id, {trusted}", f"<code>{report.chain_id.hex()}</code>"),
        ("Replicas", str(report.replicas)),
        ("Log", f"{grouped(report.entries)} entries, of them {grouped(report.sequences)} batches"),
        ("Root (digest) of the log", f"<code>{root}</code>"),
        ("Federation key", f"<code>{key}</code>"),
    ):
        yield f"<dt>{name}</dt><dd>{value}</dd>"
    for epoch in report.epochs if len(report.epochs) > 1 else ():
        yield f"<dt>Members</dt><dd>{html.escape(epoch.line())}</dd>"
    for noted in notes:
        when = f", newest of {date(noted.newest_s)}" if noted.newest_s else ""
        yield f"<dt>Signed checkpoint</dt><dd>{html.escape(noted.line() + when)}</dd>"
    for copy in copies:
        yield f"<dt>Compared with</dt><dd>{html.escape(copy.line())}</dd>"
    yield "</dl>"
    if not copies:
        yield "<p>One copy was audited, and compared with no other.</p>"
