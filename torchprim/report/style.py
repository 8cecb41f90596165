"""The style sheet of all pages, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #202124; --soft: #5f6368; --paper: #fff; --card: #f4f5f7;
  --line: #dadce0; --accent: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a9aeb4; --paper: #16181b; --card: #202327; --line: #3a3e44;
    --accent: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; }
p { margin: .4rem 0; max-width: 46rem; }
.facts, figcaption, footer, .note { color: var(--soft); font-size: .9rem; }
.players { display: grid; gap: .6rem; }
.player { display: grid; grid-template-columns: 9.5rem 1fr; align-items: center; gap: 1rem;
  background: var(--card); border-radius: .6rem; padding: .5rem .9rem; }
.player audio { width: 100%; height: 2.4rem; }
.meters { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .8rem; }
.meter { background: var(--card); border-radius: .6rem; padding: .7rem .9rem; }
.meter strong { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.meter .bar { display: block; width: 100%; height: .45rem; margin: .45rem 0; }
.meter rect { fill: var(--line); }
.meter rect + rect { fill: var(--accent); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr));
  gap: 1.4rem; }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; overflow-x: auto; }
figure.wide > svg { min-width: 38rem; }
figure > svg { display: block; width: 100%; height: auto; }
figure > svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure > svg text { font-family: inherit !important; }
figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 400; }
tr.best th, tr.best td { font-weight: 700; }
pre { background: var(--card); border-radius: .6rem; padding: .7rem .9rem; margin: .3rem 0 1rem;
  overflow-x: auto; font-size: .9rem; }
summary { cursor: pointer; font-size: 1.15rem; font-weight: 700; margin: 2.4rem 0 .8rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .3rem 1.4rem; }
dl div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; text-align: right; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
@media (max-width: 34rem) { .player { grid-template-columns: 1fr; gap: .2rem; } }
"""
