// Many curves at once, thousands of points: faint, but for the best and the one that is pointed at.
import { html, useEffect, useMemo, useRef } from "../dom.js";
import { faded, series, token, useTheme } from "./colour.js";
import { Figure } from "./figure.js";
import { extent, label, linear, ticks } from "./scale.js";
import { useWidth } from "./width.js";
import { measured } from "../components/number.js";

const [LEFT, RIGHT, TOP, FOOT] = [54, 64, 10, 34];

/** `curves`: [{id, points: [[x, y]]}]; `at` and `best` are ids. */
export function Spaghetti({ title, unit, note, curves, x, best, at, setAt, height = 280, wide }) {
  const [place, width] = useWidth();
  const canvas = useRef(null);
  const theme = useTheme();
  const { across, up, domain } = useMemo(() => {
    const xs = extent(curves.flatMap((curve) => [curve.points[0]?.[0], curve.points.at(-1)?.[0]]));
    return { across: linear(xs, [LEFT, Math.max(width - RIGHT, LEFT + 1)]), up: linear(framed(curves), [height - FOOT, TOP]), domain: xs };
  }, [curves, width, height]);
  useEffect(() => {
    if (width) draw(canvas.current, { width, height, curves, across, up, best, at });
  }, [curves, width, height, best, at, theme]);
  const move = (event) => {
    const box = canvas.current.getBoundingClientRect();
    setAt(closest(curves, event.clientX - box.left, event.clientY - box.top, across, up));
  };
  const press = (event) => {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const order = [...curves].sort((a, b) => (a.points.at(-1)?.[1] ?? 0) - (b.points.at(-1)?.[1] ?? 0));
    const from = order.findIndex((curve) => curve.id === (at ?? best));
    setAt(order[Math.min(Math.max(from + by, 0), order.length - 1)].id);
  };
  const shown = curves.find((curve) => curve.id === (at ?? best));
  const [low, high] = framed(curves);
  return html`<${Figure} title=${title} unit=${unit} note=${note} wide=${wide}
      table=${() => ({ head: ["trial", x, title], rows: curves.flatMap((curve) => curve.points.map(([a, b]) => [curve.id, a, b])) })}>
    <div class="legend"><span class="number">${shown ? html`<strong>trial ${shown.id}</strong>${shown.id === best ? " (best)" : ""} <span class="muted">${measured(shown.points.at(-1)?.[1], 5)} after ${x} ${shown.points.at(-1)?.[0]}</span>` : ""}</span>
      <span class="faint legend-at">${curves.length} curves</span></div>
    <div class="plot" ref=${place} tabindex="0" role="img" onKeyDown=${press} aria-label=${`${title} of ${curves.length} trials by ${x}. Arrow up and down go through them.`}>
      <canvas ref=${canvas} onPointerMove=${move} onPointerLeave=${() => setAt(null)} />
      ${width > 0 && html`<svg class="over-plot" width=${width} height=${height} aria-hidden="true">
        ${ticks(low, high, 5).map((value) => html`<text key=${value} class="tick" x=${LEFT - 7} y=${up(value)} dy="0.34em" text-anchor="end">${label(value)}</text>`)}
        ${ticks(domain[0], domain[1], Math.max(2, Math.floor(width / 110))).map((value) => html`<text key=${value} class="tick" x=${across(value)} y=${height - FOOT + 16} text-anchor="middle">${label(value)}</text>`)}
        <text class="tick" x=${(LEFT + width - RIGHT) / 2} y=${height - 3} text-anchor="middle">${x}</text></svg>`}
    </div><//>`;
}

/** From a little below the median of the beginnings to the top: the first epochs of the worst are not looked at. */
function framed(curves) {
  const all = extent(curves.flatMap((curve) => curve.points.map((point) => point[1])));
  const ends = curves.map((curve) => curve.points.at(-1)?.[1]).filter(Number.isFinite);
  const low = Math.min(...ends.sort((a, b) => a - b).slice(Math.floor(ends.length * 0.1)), all[1]);
  const span = all[1] - low;
  return span > 0 && all[0] < low - 1.5 * span ? [low - 0.7 * span, all[1] + 0.05 * span] : [all[0], all[1] + 0.04 * (all[1] - all[0])];
}

function draw(canvas, { width, height, curves, across, up, best, at }) {
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const [low, high] = framed(curves);
  context.strokeStyle = token("--grid");
  for (const value of ticks(low, high, 5)) {
    context.beginPath();
    context.moveTo(LEFT, up(value));
    context.lineTo(width - RIGHT, up(value));
    context.stroke();
  }
  context.save();
  context.beginPath();
  context.rect(LEFT, TOP - 4, width - LEFT - RIGHT + 4, height - FOOT - TOP + 6);
  context.clip();
  const line = (curve, colour, thick) => {
    Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: thick });
    context.beginPath();
    curve.points.forEach(([x, y], i) => (i ? context.lineTo(across(x), up(y)) : context.moveTo(across(x), up(y))));
    context.stroke();
    const [x, y] = curve.points.at(-1) ?? [];
    if (x !== undefined && (curve.points.length === 1 || thick > 2)) {
      context.beginPath();
      context.arc(across(x), up(y), thick + 0.8, 0, 7);
      context.fill();
    }
  };
  const faint = faded(token("--axis"), Math.max(0.18, Math.min(0.7, 14 / curves.length)));
  for (const curve of curves) if (curve.id !== best && curve.id !== at) line(curve, faint, 1.1);
  const named = [];
  for (const [id, colour, word] of [[best, series(0), "best"], [at, series(1), `trial ${at}`]]) {
    const curve = id === null || id === undefined || (word === "best" && at === best) ? null : curves.find((one) => one.id === id);
    if (!curve?.points.length) continue;
    line(curve, colour, 2.4);
    named.push({ curve, colour, word });
  }
  context.restore();
  context.font = "11.5px sans-serif";
  context.textBaseline = "middle";
  for (const { curve, colour, word } of named) {
    context.fillStyle = colour;
    context.fillText(word, across(curve.points.at(-1)[0]) + 8, Math.min(Math.max(up(curve.points.at(-1)[1]), TOP), height - FOOT));
  }
}

function closest(curves, x, y, across, up) {
  let best = null;
  let least = 10;
  for (const curve of curves) {
    for (let i = 0; i < curve.points.length; i++) {
      const [ax, ay] = [across(curve.points[i][0]), up(curve.points[i][1])];
      const next = curve.points[i + 1];
      if (ax > x + 12) break;
      let away = Math.hypot(ax - x, ay - y);
      if (next && ax <= x && across(next[0]) >= x) {
        const share = (x - ax) / (across(next[0]) - ax || 1);
        away = Math.min(away, Math.abs(ay + (up(next[1]) - ay) * share - y));
      }
      if (away < least) [best, least] = [curve.id, away];
    }
  }
  return best;
}
