"""The report for people: one page, nothing loaded from anywhere, findings first.

Pure: parts of the page, one after the other, so that a long log needs no more memory than a short.
"""

import html
from collections.abc import Callable, Iterable, Iterator, Sequence

from chain.audit.findings import AuditReport, CycleSummary, Finding, Severity, Throw, UnitScore
from chain.audit.noted import Noted
from chain.audit.split import Copy

UNITS_SHOWN_MAX = 200  # of one cycle
KEY_SHOWN = 12  # hex digits of a key or digest

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1b1b1b; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; font-weight: 600; }
.passed { border-color: #1a7f37; background: #eaf6ec; }
.failed { border-color: #b42318; background: #fdeceb; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .6rem 0; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .85em; overflow-wrap: anywhere; }
td { overflow-wrap: anywhere; } details { margin: .4rem 0; } summary { cursor: pointer; }
.broken td:first-child { color: #b42318; font-weight: 600; }
.wide { overflow-x: auto; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #161616; }
  .passed { background: #12301a; } .failed { background: #3a1512; } th, td { border-color: #333; } }
"""

_MEANING = {
    Severity.BROKEN: "does not follow",
    Severity.ACCUSATION: "accusation",
}


def pages(
    report: AuditReport,
    cycles: Iterable[CycleSummary],
    copies: Sequence[Copy],
    notes: Sequence[Noted],
    date: Callable[[int], str],
) -> Iterator[str]:
    """The whole page.

    Args:
        date: Unix seconds as people write them.
    """
    name = html.escape(report.name)
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>Audit of {name}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Audit of the federation {name}</h1>"
    )
    yield from _verdict(report)
    yield from _findings(report)
    yield from _checked(report, copies, notes, date)
    yield "<h2>Cycle by cycle</h2>"
    yield (
        "<p>In each cycle miners train parts of a model, replicas measure what each part is worth, "
        "and a lottery weighted by these scores draws who makes the block. Open a cycle to see how "
        "its scores and its draw came about.</p>"
    )
    for cycle in cycles:
        yield from _cycle(cycle)
    yield "</body></html>\n"


def _verdict(report: AuditReport) -> Iterator[str]:
    kind = "passed" if report.passed else "failed"
    yield f'<p class="verdict {kind}">{html.escape(report.verdict())}</p>'
    accused = sorted({index for f in report.accusations for index in f.replicas})
    if not report.passed:
        yield (
            "<p>At least one thing in this copy of the log cannot have come about by the "
            "federation's rules. Do not rely on this copy. The first finding below says where it "
            "begins; what stands after it could not be recomputed.</p>"
        )
    elif accused:
        yield (
            "<p>Every result follows from what was signed. The rules withstood what the replicas "
            "named below signed, and no score, winner or block was changed by it; their operators "
            "should be asked.</p>"
        )
    else:
        yield "<p>Every score, every draw and every certificate was recomputed and is right.</p>"


def _findings(report: AuditReport) -> Iterator[str]:
    yield "<h2>Findings</h2>"
    if not report.findings:
        yield "<p>None.</p>"
        return
    yield '<div class="wide"><table><tr><th>kind</th><th class="n">cycle</th>'
    yield '<th class="n">entry</th><th>rule</th><th>what was found</th><th>signed by</th></tr>'
    for finding in sorted(report.findings, key=_order):
        who = ", ".join(f"replica {index}" for index in finding.replicas)
        who += f" of epoch {finding.epoch}" if who and finding.epoch else ""
        yield (
            f'<tr class="{finding.severity.value}"><td>{_MEANING[finding.severity]}</td>'
            f'<td class="n">{finding.cycle}</td><td class="n">{finding.entry}</td>'
            f"<td>{finding.rule}</td><td>{html.escape(finding.text)}</td><td>{who or '–'}</td></tr>"
        )
    yield "</table></div>"
    if report.findings_left_out:
        yield f"<p>{report.findings_left_out} more are counted and not listed.</p>"


def _order(finding: Finding) -> tuple[bool, int]:
    return finding.severity is not Severity.BROKEN, finding.entry


def _checked(
    report: AuditReport,
    copies: Sequence[Copy],
    notes: Sequence[Noted],
    date: Callable[[int], str],
) -> Iterator[str]:
    root = report.log_root.hex() if report.log_root else "unknown: an entry is damaged"
    key = report.federation_key.hex() if report.federation_key else "not made yet"
    yield '<h2>What was audited</h2><div class="wide"><table>'
    for name, value in (
        ("chain", f"<code>{report.chain_id.hex()}</code>"),
        ("replicas", str(report.replicas)),
        ("log", f"{report.entries} entries, of them {report.sequences} signed batches"),
        ("root of the log", f"<code>{root}</code>"),
        ("federation key", f"<code>{key}</code>"),
    ):
        yield f"<tr><th>{name}</th><td>{value}</td></tr>"
    for epoch in report.epochs if len(report.epochs) > 1 else ():
        yield f"<tr><th>members</th><td>{html.escape(epoch.line())}</td></tr>"
    for noted in notes:
        when = f", newest of {date(noted.newest_s)}" if noted.newest_s else ""
        yield f"<tr><th>checkpoint</th><td>{html.escape(noted.line() + when)}</td></tr>"
    for copy in copies:
        yield f"<tr><th>compared with</th><td>{html.escape(copy.line())}</td></tr>"
    yield "</table></div>"


def _cycle(cycle: CycleSummary) -> Iterator[str]:
    yield f"<details><summary>{html.escape(cycle.line())}</summary>"
    if cycle.scores:
        yield from _scores(cycle)
    if cycle.throws:
        yield from _draw(cycle)
    if not cycle.scores:
        yield "<p>Nothing was scored in this cycle.</p>"
    yield "</details>"


def _scores(cycle: CycleSummary) -> Iterator[str]:
    names = [figure.name for figure in cycle.scores[0].figures]
    told = ", ".join(str(index) for index in cycle.evaluators)
    yield (
        f"<p>Measured by replicas {told}. Each figure is their median; where they differ, the "
        "lowest and the highest of them stand in brackets. A gain is in micro-nats, millionths of "
        "the unit in which losses are told.</p>"
        '<div class="wide"><table><tr><th class="n">unit</th><th>miner</th>'
        '<th class="n">segment</th>'
    )
    yield "".join(f'<th class="n">{html.escape(name)}</th>' for name in names)
    yield '<th class="n">tickets</th></tr>'
    for score in cycle.scores[:UNITS_SHOWN_MAX]:
        yield _score(score)
    yield "</table></div>"
    if len(cycle.scores) > UNITS_SHOWN_MAX:
        yield f"<p>{len(cycle.scores) - UNITS_SHOWN_MAX} more units are not shown.</p>"


def _score(score: UnitScore) -> str:
    cells = "".join(
        f'<td class="n">{figure.median}'
        + (f" ({figure.lowest} to {figure.highest})" if figure.lowest != figure.highest else "")
        + "</td>"
        for figure in score.figures
    )
    return (
        f'<tr><td class="n">{score.unit}</td><td><code>{score.miner.hex()[:KEY_SHOWN]}</code></td>'
        f'<td class="n">{score.segment}</td>{cells}<td class="n">{score.tickets}</td></tr>'
    )


def _draw(cycle: CycleSummary) -> Iterator[str]:
    seed = cycle.randomness.hex() if cycle.randomness else ""
    yield (
        "<p>The draw. All tickets lie in one row, miner after miner in the order of their keys. "
        f"The federation's beacon gave <code>{seed}</code>, which nobody could know before the "
        "scores were fixed; from it follows one point in the row, and whoever's ticket lies there "
        "is drawn. Runners-up are drawn in the same way among the others.</p>"
        '<div class="wide"><table><tr><th class="n">rank</th><th>miner</th>'
        '<th class="n">tickets</th>'
        '<th class="n">of</th><th class="n">point</th><th>the miner\'s tickets</th></tr>'
    )
    for rank, throw in enumerate(cycle.throws):
        yield _throw(rank, throw)
    yield "</table></div>"


def _throw(rank: int, throw: Throw) -> str:
    last = throw.first + throw.tickets - 1
    return (
        f'<tr><td class="n">{rank}</td><td><code>{throw.miner.hex()[:KEY_SHOWN]}</code></td>'
        f'<td class="n">{throw.tickets}</td><td class="n">{throw.total}</td>'
        f'<td class="n">{throw.point}</td><td>{throw.first} to {last}</td></tr>'
    )
