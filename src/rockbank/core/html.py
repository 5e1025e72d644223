"""Reports: one page of HTML that needs nothing else, its pictures inside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
body {{ max-width: 900px; margin: 0 auto; padding: 1rem; color: #222; background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; }}
h2 {{ font-size: 1.2rem; margin: 2.2rem 0 0.3rem; }}
p.headline {{ font-size: 1.1rem; }}
p.warning {{ color: #a33b00; font-weight: 600; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.3rem 0.8rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }}
tbody th {{ font-weight: normal; }}
td {{ font-variant-numeric: tabular-nums; }}
.reasons td {{ overflow-wrap: anywhere; }}
.over td:last-child {{ color: #a33b00; font-weight: 600; }}
pre {{ overflow-x: auto; padding: 0.6rem 0.8rem; background: #f4f4f2; font-size: 0.88rem; }}
.whole {{ white-space: nowrap; }}
img {{ display: block; width: 100%; height: auto; }}
figure {{ margin: 0; }}
figcaption, .note {{ color: #444; font-size: 0.92rem; }}
dt {{ font-weight: 600; }} dd {{ margin: 0 0 0.5rem; overflow-wrap: anywhere; white-space: pre-wrap; }}
@media (max-width: 600px) {{ img {{ width: 640px; max-width: none; }} }}
@media print {{ body {{ max-width: none; padding: 0; font-size: 11pt; }} section {{ break-inside: avoid; }}
  img {{ max-height: 22cm; width: auto; max-width: 100%; }} .wide {{ overflow: visible; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: Iterable[str]) -> str:
    """The page: a title, which is escaped, and parts of HTML, of which empty ones are left out."""
    return _PAGE.format(title=escape(title), body="\n".join(filter(None, body)))


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "", *, kind: str = "", marked: Iterable[int] = ()
) -> str:
    """Rows of text, the first cell of each its name, under a head where there is one.

    Args:
        head: names of the columns; none leaves them without.
        rows: text, which is escaped.
        note: below it.
        kind: the style's class, such as "reasons" for long text.
        marked: rows, counted from 0, whose last cell stands out.
    """
    above = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    of_kind = f' class="{kind}"' if kind else ""
    chosen = set(marked)
    body = "".join(_row(row, "over" if i in chosen else "") for i, row in enumerate(rows))
    below = f'\n<p class="note">{escape(note)}</p>' if note else ""
    return (
        f'<div class="wide"><table{of_kind}>'
        + (f"<thead><tr>{above}</tr></thead>" if head else "")
        + f"<tbody>{body}</tbody></table></div>{below}"
    )


def figure(name: str, title: str, caption: str, png: bytes) -> str:
    """A section with a picture: what it shows, and the picture itself."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return (
        f'<section id="{name}"><h2>{escape(title)}</h2>\n<figure>'
        f"<figcaption>{escape(caption)}</figcaption>"
        f'<div class="wide"><img src="{source}" alt="{escape(title)}"></div></figure></section>'
    )


def _row(cells: Iterable[str], kind: str) -> str:
    first, *others = map(escape, cells)
    of_kind = f' class="{kind}"' if kind else ""
    return f'<tr{of_kind}><th scope="row">{first}</th>' + "".join(f"<td>{each}</td>" for each in others) + "</tr>"
