"""Colours and style sheet of the page; charts and page share them."""

INK, MUTED, LINE, PAPER, WASH = "#1c2333", "#667085", "#e4e7ec", "#ffffff", "#f6f7f9"
TRAINED, RANDOM, RAW = "#2456c7", "#98a2b3", "#c4661f"
SEEDS = ("#2456c7", "#12836f", "#8646b5", "#b83280", "#4d6a8a", "#8a6d1d")
GOOD, BAD = "#12836f", "#b42318"

CSS = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: {WASH}; color: {INK}; font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }}
header h1 {{ font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.02em; }}
header p {{ margin: 0; color: {MUTED}; }}
h2 {{ font-size: 21px; letter-spacing: -0.01em; margin: 44px 0 4px; }}
h3 {{ font-size: 15px; margin: 0 0 12px; }}
p.lead {{ margin: 0 0 16px; color: {MUTED}; }}
section.card {{ background: {PAPER}; border: 1px solid {LINE}; border-radius: 12px; padding: 20px 22px; margin: 16px 0;
  break-inside: avoid; }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 16px 28px; }}
.verdict {{ border-left: 4px solid {MUTED}; padding: 2px 0 2px 12px; margin: 8px 0; }}
.verdict.better {{ border-color: {GOOD}; }} .verdict.worse {{ border-color: {BAD}; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; }}
th {{ text-align: left; font-weight: 600; color: {MUTED}; border-bottom: 1px solid {LINE}; padding: 6px 10px 6px 0; }}
td {{ border-bottom: 1px solid {LINE}; padding: 6px 10px 6px 0; vertical-align: top; }}
tr:last-child td {{ border-bottom: 0; }}
td.number, th.number {{ text-align: right; white-space: nowrap; }}
td small {{ color: {MUTED}; display: block; }}
td.better {{ color: {GOOD}; }} td.worse {{ color: {BAD}; }}
.scroll {{ overflow-x: auto; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 10px; color: {MUTED}; font-size: 13px; }}
.legend i {{ display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 6px; }}
ul.notes {{ margin: 0; padding-left: 18px; }} ul.notes li {{ margin: 4px 0; }}
svg {{ display: block; width: 100%; height: auto; }}
svg text {{ font-family: inherit; fill: {INK}; }} svg text.muted {{ fill: {MUTED}; }}
details summary {{ cursor: pointer; font-weight: 600; }}
pre {{ font: 12px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; background: {WASH}; border-radius: 8px; padding: 12px; margin: 10px 0 0; }}
code {{ font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }}
footer {{ color: {MUTED}; font-size: 13px; margin-top: 32px; }}
@media print {{ body {{ background: none; font-size: 11pt; }} main {{ padding: 0; max-width: none; }}
  section.card {{ border-color: #ccc; }} details:not([open]) {{ display: none; }} }}
"""
