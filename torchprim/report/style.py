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
.transport { margin: 1.4rem 0 0; }
.transport .controls, .transport fieldset { display: none; }
.transport.live .players { display: none; }
.transport.live { position: sticky; top: 0; z-index: 1; margin: 1rem -1.25rem 0; padding: .7rem 1.25rem .5rem;
  background: var(--paper); border-bottom: 1px solid var(--line); }
.transport.live .controls { display: flex; align-items: center; gap: .9rem; }
.transport.live fieldset { display: flex; flex-wrap: wrap; gap: .4rem; }
.play { flex: none; width: 2.9rem; height: 2.9rem; border: 0; border-radius: 50%; padding: .55rem;
  background: var(--accent); color: var(--paper); cursor: pointer; }
.play svg { display: block; width: 100%; height: 100%; fill: currentColor; }
.play .rest, .playing .play .go { display: none; }
.playing .play .rest { display: inline; }
.play[aria-busy] { opacity: .5; }
.position { flex: 1; min-width: 4rem; height: 1.6rem; margin: 0; appearance: none; background: none;
  cursor: pointer; }
.position::-webkit-slider-runnable-track { height: .35rem; border-radius: .2rem;
  background: linear-gradient(to right, var(--accent) var(--share, 0%), var(--line) var(--share, 0%)); }
.position::-moz-range-track { height: .35rem; border-radius: .2rem; background: var(--line); }
.position::-moz-range-progress { height: .35rem; border-radius: .2rem; background: var(--accent); }
.position::-webkit-slider-thumb { appearance: none; width: 1rem; height: 1rem; margin-top: -.325rem;
  border-radius: 50%; background: var(--accent); }
.position::-moz-range-thumb { width: 1rem; height: 1rem; border: 0; border-radius: 50%;
  background: var(--accent); }
.clock { font-variant-numeric: tabular-nums; color: var(--soft); white-space: nowrap; }
.choices { border: 0; margin: .55rem 0 0; padding: 0; }
.choices legend, .choices input { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
.choices span { display: block; padding: .25rem .85rem .25rem .6rem; border: 1px solid var(--line);
  border-radius: 2rem; cursor: pointer; user-select: none; }
.choices kbd { font: inherit; font-size: .8em; color: var(--soft); margin-right: .5em; }
.choices input:checked + span { background: var(--accent); border-color: var(--accent); color: var(--paper); }
.choices input:checked + span kbd { color: inherit; opacity: .75; }
.play:focus-visible, .position:focus-visible, .choices input:focus-visible + span {
  outline: 2px solid var(--accent); outline-offset: 2px; }
.transport .note { margin: .45rem 0 0; font-size: .82rem; max-width: none; }
.transport .status:empty { display: none; }
.players { display: grid; gap: .6rem; }
.player { display: grid; grid-template-columns: 9.5rem 1fr; align-items: center; gap: 1rem;
  background: var(--card); border-radius: .6rem; padding: .5rem .9rem; }
.player audio { width: 100%; height: 2.4rem; }
.plot { position: relative; }
.plot.seekable { cursor: crosshair; }
.cursor { position: absolute; width: 1px; background: var(--ink); opacity: .85;
  box-shadow: 0 0 0 .5px var(--paper); pointer-events: none; }
.cursor[hidden] { display: none; }
.meters { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .8rem; }
.meter { background: var(--card); border-radius: .6rem; padding: .7rem .9rem; }
.meter strong { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.meter .bar { display: block; width: 100%; height: .9rem; margin: .45rem 0 .3rem; }
.meter rect { fill: var(--line); }
.meter rect + rect { fill: var(--accent); }
.meter path { stroke: var(--ink); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.meter path.mark { stroke: var(--soft); opacity: .8; }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: .75rem;
  margin: -.3rem 0 .3rem; }
.ends i { font-style: normal; }
.meters + .pictures { margin-top: 1.4rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr));
  gap: 1.4rem; }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; overflow-x: auto; }
figure.wide > .plot { min-width: 38rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: inherit !important; }
figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 400; }
pre { background: var(--card); border-radius: .6rem; padding: .7rem .9rem; margin: .3rem 0 1rem;
  overflow-x: auto; font-size: .9rem; }
summary { cursor: pointer; font-size: 1.15rem; font-weight: 700; margin: 2.4rem 0 .8rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .3rem 1.4rem; }
dl div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; text-align: right; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
@media (max-width: 34rem) { .player { grid-template-columns: 1fr; gap: .2rem; }
  .transport.live .note { display: none; } }
"""
