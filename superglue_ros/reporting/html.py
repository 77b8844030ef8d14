"""One page of HTML that needs nothing beside it: pictures inside, readable on a phone."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 60rem; margin: 0 auto;
  padding: 0 1rem 3rem; }
h1 { font-size: 1.6rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid #d5dae2; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .8rem 0; }
a { color: #0b57a4; }
.cards { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.card { background: #f1f4f9; border-radius: .5rem; padding: .5rem .9rem; flex: 1 1 7rem; }
.card b { display: block; font-size: 1.25rem; }
.card span { color: #55607a; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0;
  border-bottom: 1px solid #e6e9ef; }
td { overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; display: block; }
figcaption, .note { color: #55607a; font-size: .9rem; }
.warning { background: #fff3d6; border-left: .3rem solid #e0a400; padding: .4rem .8rem;
  margin: .5rem 0; overflow-wrap: anywhere; }
"""
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Section:
    """A heading and the HTML below it."""

    title: str
    body: str


def page(title: str, sections: Sequence[Section], intro: str = "") -> str:
    """A whole document: title, links to the sections, sections. Sections without a body are left
    out."""
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#{_name(s)}">{html.escape(s.title)}</a>' for s in shown)
    bodies = "".join(f'<h2 id="{_name(s)}">{html.escape(s.title)}</h2>\n{s.body}\n' for s in shown)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Browsers ask for an icon otherwise.
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n{intro}\n<nav>{links}</nav>\n{bodies}</body>\n</html>\n"
    )


def cards(figures: Sequence[tuple[str, str]]) -> str:
    """Large figures in a row: (value, what it is)."""
    boxes = "".join(
        f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'
        for value, name in figures
    )
    return f'<div class="cards">{boxes}</div>'


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Rows of cells; the first of a row is its name, numbers stand to the right."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = [f"<tr>{head}</tr>"] if head else []
    for first, *others in rows:
        cells = "".join(_cell(value) for value in others)
        lines.append(f"<tr><th>{html.escape(str(first))}</th>{cells}</tr>")
    return f'<div class="wide"><table>\n{chr(10).join(lines)}\n</table></div>'


def picture(path: Path, caption: str = "") -> str:
    """A picture file inside the page, with a caption."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    text = html.escape(caption)
    below = f"<figcaption>{text}</figcaption>" if caption else ""
    source = f"data:{_TYPES[path.suffix]};base64,{data}"
    return f'<figure><img src="{source}" alt="{text or path.stem}">{below}</figure>'


def paragraph(text: str, kind: str = "note") -> str:
    """A line of text; kind: note or warning."""
    return f'<p class="{kind}">{html.escape(text)}</p>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value}</td>'
    return f"<td>{html.escape(str(value))}</td>"


def _name(section: Section) -> str:
    return "-".join(section.title.lower().split())
