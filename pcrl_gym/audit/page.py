"""Render an audit as an HTML page."""

from __future__ import annotations

from html import escape

from pcrl_gym.audit.flips import Audit

_SHOWN = 200
"""Maximum number of flips on the page; the JSON file holds all of them."""

_COLUMNS = ("pairs", "flips", "share", "95% interval", "characters saved")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; }
th, td { text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def audit_page(audit: Audit) -> str:
    """Return an HTML page with the table of classes and the first flips."""
    numbers = "".join(f'<th class="number">{name}</th>' for name in _COLUMNS)
    rows = "".join(
        f"<tr><td>{escape(row.kind)}</td>"
        + "".join(
            f'<td class="number">{cell}</td>'
            for cell in (
                row.pairs,
                row.flips,
                f"{100 * row.share:.1f}%",
                f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}%",
                f"{100 * row.saved:.0f}%",
            )
        )
        + "</tr>\n"
        for row in audit.rows
    )
    shown = audit.flips[:_SHOWN]
    flips = "".join(
        "<tr>"
        + "".join(
            f"<td>{cell}</td>"
            for cell in (
                escape(one.pair.kind),
                f"{escape(one.pair.first)}<br>{escape(one.pair.second)}",
                f"{escape(one.first)}<br>{escape(one.second)}",
                escape(one.fault),
            )
        )
        + "</tr>\n"
        for one in shown
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Flip audit of {escape(audit.name)}</title>
<style>{_STYLE}</style></head>
<body>
<h1>Flip audit of {escape(audit.name)}</h1>
<p>The two prompts of a pair differ in one detail that changes the correct answer. A compressor
fails a pair if it reduces both prompts to the same words ("same"), or drops a word that only the
first prompt has ("lost").</p>
<table>
<tr><th>class</th>{numbers}</tr>
{rows}</table>
<h2>{len(shown)} of {len(audit.flips)} flips</h2>
<table>
<tr><th>class</th><th>prompts</th><th>compressed</th><th>fault</th></tr>
{flips}</table>
</body>
</html>
"""
