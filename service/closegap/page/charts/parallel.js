// Parallel coordinates: an axis a parameter, a line a trial, its colour how good it is. A drag on an axis keeps a range.
import { html, useEffect, useMemo, useRef, useState } from "../dom.js";
import { ramp, token, useTheme } from "./colour.js";
import { Figure } from "./figure.js";
import { extent, label, linear } from "./scale.js";
import { useWidth } from "./width.js";
import { measured } from "../components/number.js";

const TOP = 40;
const FOOT = 14;
const LONGEST = 22;

/** `axes`: [{name, values: one a line, number or text, log}], the last is `value`, by which lines are coloured. */
export function Parallel({ title, unit, note, axes, ids, height = 300, choose, wide, highlight }) {
  const [place, width] = useWidth();
  const canvas = useRef(null);
  const [kept, setKept] = useState({});
  const [over, setOver] = useState(null);
  const theme = useTheme();
  const scales = useMemo(() => axes.map((axis) => scaleOf(axis, height)), [axes, height]);
  const [left, right] = [scales[0], scales.at(-1)].map((scale) => 14 + 6.4 * Math.max(4, ...scale.ticks.map((tick) => tick.said.length)));
  const across = linear([0, Math.max(axes.length - 1, 1)], [left, Math.max(width - right, left + 1)]);
  const inside = useMemo(() => ids.map((_, i) => axes.every((axis, n) => !kept[n] || within(scales[n](axis.values[i]), kept[n]))), [ids, axes, kept, scales]);
  const shares = useMemo(() => goodness(axes.at(-1).values), [axes]);
  const at = over ?? (highlight === null || highlight === undefined ? -1 : ids.indexOf(highlight));

  useEffect(() => {
    if (width) draw(canvas.current, { width, height, axes, scales, across, inside, shares, at });
  }, [width, height, axes, scales, inside, shares, at, theme]);

  const position = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const drag = useRef(null);
  const down = (event) => {
    const [x, y] = position(event);
    const n = axes.findIndex((_, i) => Math.abs(across(i) - x) < 14);
    if (n < 0) return over === null ? undefined : choose?.(ids[over]);
    drag.current = { n, from: y };
    event.currentTarget.setPointerCapture(event.pointerId);
    setKept(({ [n]: _, ...rest }) => rest);
  };
  const move = (event) => {
    const [x, y] = position(event);
    if (drag.current) {
      const { n, from } = drag.current;
      if (Math.abs(y - from) > 3) setKept((old) => ({ ...old, [n]: [Math.min(from, y), Math.max(from, y)] }));
    } else setOver(closest(x, y, { axes, scales, across, inside }));
  };
  const up = () => { drag.current = null; };
  const said = at >= 0 ? `${axes.map((axis) => `${axis.name} ${shown(axis.values[at])}`).join(" · ")}` : "";
  const count = inside.filter(Boolean).length;
  return html`<${Figure} title=${title} unit=${unit} note=${note} wide=${wide}
      extra=${Object.keys(kept).length ? html`<button type="button" class="quiet" onClick=${() => setKept({})}>${count} of ${ids.length} kept, show all</button>` : null}
      table=${() => ({ head: ["trial", ...axes.map((axis) => axis.name)], rows: ids.map((id, i) => [id, ...axes.map((axis) => shown(axis.values[i]))]) })}>
    <div class="legend"><span class="number">${at >= 0 ? html`<strong>trial ${ids[at]}</strong> <span class="muted">${said}</span>`
      : html`<span class="faint">Point at a line to read it; drag along an axis to keep a range.</span>`}</span></div>
    <div class="plot parallel" ref=${place} role="img" tabindex="0" aria-label=${`${title}: ${ids.length} trials over ${axes.length} axes`}>
      <canvas ref=${canvas} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerLeave=${() => drag.current || setOver(null)} />
      ${width > 0 && html`<svg class="over-plot" width=${width} height=${height} aria-hidden="true">${axes.map((axis, i) => html`<g key=${axis.name} class="parallel-axis">
        <path d=${`M${across(i)} ${TOP}V${height - FOOT}`} />
        <text class="axis-name" x=${across(i)} y="14" text-anchor=${i === 0 ? "start" : i === axes.length - 1 ? "end" : "middle"} dx=${i === 0 ? -left : i === axes.length - 1 ? right : 0}>${short(axis.name)}</text>
        ${scales[i].ticks.map(({ said: word, y }) => html`<text key=${word} class="tick halo" x=${across(i) + (i === axes.length - 1 ? 7 : -7)} y=${y} dy="0.34em" text-anchor=${i === axes.length - 1 ? "start" : "end"}>${word}</text>`)}
        ${kept[i] && html`<rect class="kept" x=${across(i) - 7} width="14" y=${kept[i][0]} height=${kept[i][1] - kept[i][0]} />`}</g>`)}</svg>`}
    </div><//>`;
}

const shown = (value) => (value === null || value === undefined ? "–" : typeof value === "number" ? measured(value) : String(value));
const short = (name) => (name.length > 26 ? `…${name.slice(-25)}` : name);
const within = (y, [from, to]) => y !== null && y >= from && y <= to;

/** Values of an axis to pixels, with what its ticks say; null has no place. */
function scaleOf(axis, height) {
  const span = [height - FOOT - 4, TOP + 6];
  const known = axis.values.filter((value) => value !== null && value !== undefined);
  const numbers = known.every((value) => typeof value === "number") && new Set(known).size > 1;
  if (!numbers) {
    const words = [...new Set(known.map(String))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const scale = linear([0, Math.max(words.length - 1, 1)], span);
    const place = (value) => (value === null || value === undefined ? null : scale(words.length === 1 ? 0.5 : words.indexOf(String(value))));
    const every = Math.ceil(words.length / 12);
    return Object.assign(place, { ticks: words.filter((_, i) => i % every === 0).map((word) => ({ said: word.length > LONGEST ? `${word.slice(0, LONGEST - 1)}…` : word, y: place(word) })) });
  }
  const [low, high] = extent(known);
  const log = axis.log && low > 0;
  const to = log ? Math.log10 : (value) => value;
  const scale = linear(log ? [Math.log10(Math.min(...known)), Math.log10(Math.max(...known))] : [Math.min(...known), Math.max(...known)], span);
  const place = (value) => (typeof value === "number" ? scale(to(value)) : null);
  const many = [0, 0.25, 0.5, 0.75, 1].map((part) => span[0] + (span[1] - span[0]) * part);
  const few = [...new Set(known)].sort((a, b) => a - b);
  const at = few.length <= 6 ? few : many.map((y) => (log ? 10 ** scale.invert(y) : scale.invert(y)));
  return Object.assign(place, { ticks: at.map((value) => ({ said: label(value, few.length <= 6 ? 0 : (high - low) / 8), y: place(value) })) });
}

/** 0 … 1 by rank: the best trials differ by little, the worst by much. */
function goodness(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const rank = new Map(sorted.map((value, i) => [value, sorted.length > 1 ? i / (sorted.length - 1) : 1]));
  return values.map((value) => (Number.isFinite(value) ? rank.get(value) : null));
}

function draw(canvas, { width, height, axes, scales, across, inside, shares, at }) {
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const order = shares.map((_, i) => i).sort((a, b) => (shares[a] ?? -1) - (shares[b] ?? -1));
  const line = (i, colour, thick, opacity) => {
    Object.assign(context, { strokeStyle: colour, lineWidth: thick, globalAlpha: opacity });
    context.beginPath();
    let begun = false;
    axes.forEach((axis, n) => {
      const y = scales[n](axis.values[i]);
      if (y === null) begun = false;
      else if (begun) context.lineTo(across(n), y);
      else context.moveTo(across(n), y);
      begun = y !== null;
    });
    context.stroke();
  };
  const crowd = Math.max(0.25, Math.min(0.9, 60 / order.length + 0.2));
  const none = token("--line-strong");
  for (const i of order) line(i, inside[i] && shares[i] !== null ? ramp(shares[i]) : none, inside[i] ? 1.4 : 1, inside[i] ? (at >= 0 ? crowd * 0.35 : crowd) : 0.15);
  if (at >= 0) line(at, token("--series-2"), 2.6, 1);
}

/** The line that is next to a place, at most 8 pixels away. */
function closest(x, y, { axes, scales, across, inside }) {
  const n = Math.min(Math.max(Math.floor(across.invert(x)), 0), axes.length - 2);
  const share = (x - across(n)) / (across(n + 1) - across(n));
  let best = null;
  let least = 8;
  for (let i = 0; i < inside.length; i++) {
    if (!inside[i]) continue;
    const [a, b] = [scales[n](axes[n].values[i]), scales[n + 1](axes[n + 1].values[i])];
    if (a === null || b === null) continue;
    const away = Math.abs(a + (b - a) * share - y);
    if (away < least) [best, least] = [i, away];
  }
  return best;
}
