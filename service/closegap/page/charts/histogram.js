// How values are spread: counts in bins, and beside them the same of other rows as an outline of equal area.
import { html, useState } from "../dom.js";
import { Figure } from "./figure.js";
import { label, linear, ticks } from "./scale.js";
import { useWidth } from "./width.js";
import { measured, whole } from "../components/number.js";

const FOOT = 34;
const LEFT = 46;

/**
 * `sets`: [{name, counts, number}], the first as bars, others as outlines; shares of their own rows, so that sets of
 * different size compare. `marks`: [{x, name}].
 */
export function Histogram({ title, unit, note, edges, sets, marks = [], height = 220, wide, x }) {
  const [place, width] = useWidth();
  const [at, setAt] = useState(null);
  const totals = sets.map((set) => set.counts.reduce((a, b) => a + b, 0) || 1);
  const shares = sets.map((set, i) => set.counts.map((count) => count / totals[i]));
  const top = Math.max(...shares.flat(), 1e-9);
  const across = linear([edges[0], edges.at(-1)], [LEFT, Math.max(width - 8, LEFT + 1)]);
  const up = linear([0, top], [height - FOOT, 12]);
  const named = ticks(edges[0], edges.at(-1), Math.max(2, Math.floor(width / 90)));
  const shown = at === null ? null : sets.map((set, i) => `${set.name}: ${whole(set.counts[at])} (${measured(100 * shares[i][at], 3)} %)`);
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const value = across.invert(event.clientX - box.left);
    const bin = edges.findIndex((edge, i) => i && value <= edge) - 1;
    setAt(value < edges[0] || bin < 0 ? null : bin);
  };
  const press = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    setAt(Math.min(Math.max((at ?? (by > 0 ? -1 : edges.length - 1)) + by, 0), edges.length - 2));
  };
  return html`<${Figure} title=${title} unit=${unit} note=${note} wide=${wide}
      table=${() => ({ head: ["lower edge", "upper edge", ...sets.map((set) => set.name)], rows: sets[0].counts.map((_, i) => [edges[i], edges[i + 1], ...sets.map((set) => set.counts[i])]) })}>
    <div class="legend">${sets.map((set, i) => html`<span key=${set.name} class="key-item"><svg class=${`key series-${set.number ?? i} ${i ? "" : "solid"}`}
        viewBox="0 0 14 10" width="14" height="10" aria-hidden="true"><path d="M1 9V3h6V1h6v8" /></svg><span>${set.name}</span>
        <span class="number key-value">${whole(totals[i])} rows</span></span>`)}
      <span class="faint number legend-at">${shown ? `${label(edges[at])} to ${label(edges[at + 1])} · ${shown.join(" · ")}` : ""}</span></div>
    <div class="plot" ref=${place} tabindex="0" role="img" onKeyDown=${press}
        aria-label=${`${title}: ${sets.map((set, i) => `${totals[i]} rows ${set.name}`).join(", ")}. Arrow keys read bins out.`}>
      ${width > 0 && html`<svg width=${width} height=${height} onPointerMove=${move} onPointerLeave=${() => setAt(null)} aria-hidden="true">
        ${ticks(0, top, 3).map((value) => html`<g key=${`y${value}`} class="grid"><path d=${`M${LEFT} ${up(value)}H${width - 8}`} />
          <text x=${LEFT - 6} y=${up(value)} dy="0.34em" text-anchor="end">${measured(100 * value, 2)} %</text></g>`)}
        ${shares[0].map((share, i) => share > 0 && html`<rect key=${i} class=${`fill-${sets[0].number ?? 0} ${at === i ? "at" : ""}`}
          x=${across(edges[i]) + 0.5} width=${Math.max(across(edges[i + 1]) - across(edges[i]) - 1, 0.6)} y=${up(share)} height=${up(0) - up(share)} />`)}
        ${shares.slice(1).map((set, n) => html`<path key=${`s${n}`} class=${`outline series-${sets[n + 1].number ?? n + 1}`} d=${outline(set, edges, across, up)} />`)}
        ${marks.map((mark) => html`<g key=${mark.name} class="mark-line"><path d=${`M${across(mark.x)} 12V${height - FOOT}`} />
          <text x=${across(mark.x) + 5} y="20">${mark.name}</text></g>`)}
        <path class="axis-line" d=${`M${LEFT} ${up(0)}H${width - 8}`} />
        ${named.map((value) => html`<text key=${value} class="tick" x=${across(value)} y=${height - FOOT + 15} text-anchor="middle">${label(value)}</text>`)}
        <text class="tick" x=${(LEFT + width - 8) / 2} y=${height - 3} text-anchor="middle">${x}</text></svg>`}
    </div><//>`;
}

function outline(shares, edges, across, up) {
  return `M${across(edges[0])} ${up(0)}${shares.map((share, i) => `V${up(share)}H${across(edges[i + 1])}`).join("")}V${up(0)}`;
}
