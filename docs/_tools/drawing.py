"""A few SVG elements with one look: texts are escaped, and colours follow the reader's scheme."""

from __future__ import annotations

from html import escape

# A background of its own makes a picture readable on any page; dark where the reader asks for dark.
STYLE = """
svg { font-family: "DejaVu Sans", Verdana, sans-serif; font-size: 14px; }
.page { fill: #ffffff; } .text { fill: #1c2526; } .soft { fill: #586466; }
.box { fill: #eef3f3; stroke: #8fa3a5; } .ours { fill: #d9f0ec; stroke: #00796b; }
.frozen { fill: #e3e8f4; stroke: #5a6fa8; }
.frame { fill: none; stroke: #8fa3a5; stroke-dasharray: 6 4; }
.line { fill: none; stroke: #586466; stroke-width: 1.6; } .tip { fill: #586466; }
.kept { fill: #cdebe5; } .dropped { fill: #fbdcd5; } .fixed { fill: #e4e7e8; }
.gone { fill: #9a3412; text-decoration: line-through; }
.mono { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; }
.strong { font-weight: bold; }
@media (prefers-color-scheme: dark) {
  .page { fill: #1d2124; } .text { fill: #e8eced; } .soft { fill: #a9b5b7; }
  .box { fill: #2a3134; stroke: #6d7f82; } .ours { fill: #123f39; stroke: #4db6a4; }
  .frozen { fill: #29324d; stroke: #8c9fd6; } .frame { stroke: #6d7f82; }
  .line { stroke: #a9b5b7; } .tip { fill: #a9b5b7; }
  .kept { fill: #16504a; } .dropped { fill: #5a2a20; } .fixed { fill: #353c3f; }
  .gone { fill: #f4a48f; }
}
"""


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """Return a whole SVG file.

    Args:
        width: In pixels.
        height: In pixels.
        title: What a screen reader says.
        parts: Elements, from below to above.
    """
    size = 'markerWidth="7" markerHeight="7" orient="auto"'
    tip = f'<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" {size}>'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<defs>{tip}<path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>',
        f'<rect class="page" width="{width}" height="{height}" rx="10"/>',
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def text(x: float, y: float, content: str, kind: str = "text", anchor: str = "start") -> str:
    """Return a line of text; (x, y) is the start, middle or end of its base line."""
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(content)}</text>'


def monospaced(x: float, y: float, content: str, advance: float, kind: str) -> str:
    """Return a line of text whose characters are `advance` pixels wide, whatever the font."""
    width = f'textLength="{advance * len(content):g}" lengthAdjust="spacingAndGlyphs"'
    return f'<text class="mono {kind}" x="{x:g}" y="{y:g}" {width}>{escape(content)}</text>'


def rectangle(x: float, y: float, width: float, height: float, kind: str, radius: float) -> str:
    """Return a rectangle with round corners."""
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"'
    return f'<rect class="{kind}" {size}/>'


def arrow(*points: tuple[float, float]) -> str:
    """Return an arrow through points."""
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path class="line" d="{path}" marker-end="url(#tip)"/>'
