// Curves over a common axis: canvas by uPlot; hover and arrow keys read values out, a drag looks closer.
import uPlot from "../vendor/uplot.js";
import { html, useEffect, useMemo, useRef, useState } from "../dom.js";
import { onTheme, series as colour, token } from "./colour.js";
import { Figure, Key } from "./figure.js";
import { extent, label, settled } from "./scale.js";
import { measured } from "../components/number.js";

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
const FONT = '11.5px -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';

/**
 * `curves`: [{name, points: [[x, y]], number (of its colour), dash, width, short, axis: "right"}].
 * `x`: {name, whole}; `whole`: y has no parts either. `marks`: [{x, name}] are named lines. The frame leaves a steep beginning out, unless `full`:
 * `settle` says of which curves (their names) and how many points of each; `range` is a frame of its own.
 */
export function Lines({ title, unit, note, curves, x, marks = [], height = 240, right, wide, full: begun = false, settle, range, log = false, whole = false }) {
  const [full, setFull] = useState(begun);
  const [hidden, setHidden] = useState(() => new Set());
  const [at, setAt] = useState(null);
  const shown = curves.filter((curve) => curve.points.length);
  const cut = useMemo(
    () => (log || range ? null : settled(shown.filter((one) => one.axis !== "right" && !hidden.has(one.name)).map((one) => ({ ys: one.points.map((point) => point[1]), judged: settle?.of ? settle.of.includes(one.name) : true })), settle?.skip)),
    [curves, hidden, log],
  );
  const data = useMemo(() => aligned(shown), [curves]);
  const turn = (name) => {
    const next = new Set(hidden);
    if (!next.delete(name) && next.size + 1 < shown.length) next.add(name);
    setHidden(next);
  };
  const index = at ?? data[0].length - 1;
  const read = (i) => {
    const value = at === null ? shown[i].points.at(-1)?.[1] : data[i + 1][index];
    return measured(value, 5);
  };
  return html`<${Figure} title=${title} unit=${unit} note=${note} wide=${wide}
      extra=${cut && html`<button type="button" class="quiet faint" onClick=${() => setFull(!full)}>${full ? "Without the beginning" : "With the beginning"}</button>`}
      table=${() => ({ head: [x.name, ...shown.map((one) => one.name)], rows: data[0].map((value, i) => [value, ...shown.map((_, n) => data[n + 1][i])]) })}>
    <div class="legend">${shown.map((curve, i) => html`<${Key} key=${curve.name} number=${curve.number ?? i} dash=${dashes(curve.dash)}
        name=${curve.name} value=${read(i)} off=${hidden.has(curve.name)} onClick=${shown.length > 1 ? () => turn(curve.name) : null} />`)}
      </div>
    <${Canvas} ...${{ title, curves: shown, data, x, marks, height, right, log, setAt, hidden, whole }} at=${at === null ? null : `${x.name} ${label(data[0][index] ?? 0)}`} range=${range ?? (cut && !full ? cut : null)} />
  <//>`;
}

const dashes = (dash) => (dash ? dash.join(" ") : null);

function Canvas({ title, curves, data, x, marks, height, right, log, range, setAt, hidden, whole, at }) {
  const place = useRef(null);
  const chart = useRef(null);
  const now = useRef({});
  now.current = { marks, range, curves };
  const shape = JSON.stringify([curves.map((one) => [one.name, one.number, one.dash, one.axis, one.width]), x, right, log, height]);

  useEffect(() => {
    const box = place.current;
    const plot = new uPlot(options({ now, x, right, log, height, width: box.clientWidth, setAt, whole }), data, box);
    chart.current = plot;
    const sized = new ResizeObserver(() => box.clientWidth && box.clientWidth !== plot.width && plot.setSize({ width: box.clientWidth, height }));
    sized.observe(box);
    const leave = onTheme(() => plot.redraw(false, true));
    return () => {
      leave();
      sized.disconnect();
      plot.destroy();
      chart.current = null;
    };
  }, [shape]);
  useEffect(() => {
    // Someone who looks closer goes on looking there while points come.
    const near = zoomed(chart.current);
    chart.current.setData(data, !near);
    if (near) chart.current.redraw();
  }, [data]);
  useEffect(() => {
    curves.forEach((curve, i) => {
      const show = !hidden.has(curve.name);
      if (chart.current.series[i + 1].show !== show) chart.current.setSeries(i + 1, { show });
    });
  }, [hidden, shape]);
  useEffect(() => {
    const plot = chart.current;
    plot.setData(plot.data, !zoomed(plot));
  }, [range?.[0], range?.[1], JSON.stringify(marks)]);

  const step = (event) => {
    const plot = chart.current;
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") plot.setData(plot.data, true);
    if (by === undefined || !plot.data[0].length) return;
    event.preventDefault();
    const from = plot.cursor.idx ?? (by > 0 ? -1 : plot.data[0].length);
    const to = Math.min(Math.max(from + by, 0), plot.data[0].length - 1);
    plot.setCursor({ left: plot.valToPos(plot.data[0][to], "x"), top: plot.over.clientHeight / 2 });
  };
  const last = curves.map((one) => `${one.name} ${measured(one.points.at(-1)?.[1], 5)}`).join(", ");
  return html`<div class="plot" ref=${place} tabindex="0" role="img" onKeyDown=${step}
    aria-label=${`${title} by ${x.name}; at the end ${last}. Arrow keys read values out.`}>
    ${at && html`<span class="plot-at faint number">${at}</span>`}</div>`;
}

const zoomed = (plot) => {
  const xs = plot.data[0];
  return xs.length > 1 && (plot.scales.x.min > xs[0] || plot.scales.x.max < xs.at(-1)) && plot.zoomedByHand === true;
};

function options({ now, x, right, log, height, width, setAt, whole }) {
  const axis = { stroke: () => token("--axis"), font: FONT, grid: { stroke: () => token("--grid"), width: 1 }, ticks: { show: false } };
  const named = (plot, values, number, space, step) => values.map((value) => (value === null ? "" : label(value, log ? 0 : step)));
  const first = now.current.curves;
  return {
    width, height, legend: { show: false }, padding: [10, right ? 4 : labelWidth(first), 0, 0],
    cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false }, dataIdx: nearest, sync: x.sync ? { key: x.sync } : undefined },
    scales: {
      x: { time: false, range: (plot, low, high) => (low === high ? [low - 0.5, high + 0.5] : [low, high]) },
      y: { distr: log ? 3 : 1, range: (plot, low, high) => now.current.range ?? (log ? uPlot.rangeLog(low, high, 10, false) : framed(low, high)) },
      right: { range: () => right?.range ?? [0, 1] },
    },
    axes: [
      { ...axis, label: x.name, labelFont: FONT, labelSize: 18, labelGap: 0, size: 28, gap: 4, values: named,
        incrs: x.whole ? WHOLE : undefined },
      { ...axis, size: measure, gap: 6, values: named, incrs: whole ? WHOLE : undefined },
      { ...axis, scale: "right", side: 1, show: Boolean(right), grid: { show: false }, size: 56, gap: 6, label: right?.name, labelFont: FONT, labelSize: 18, labelGap: 0, values: named },
    ],
    series: [{}, ...first.map((curve, i) => ({
      label: curve.name, scale: curve.axis === "right" ? "right" : "y", spanGaps: true, dash: curve.dash,
      width: curve.width ?? 1.8, stroke: () => colour(curve.number ?? i),
      points: { show: (plot, s, from, to) => to - from < 30, size: 5, fill: () => token("--surface") },
    }))],
    hooks: {
      setCursor: [(plot) => setAt(plot.cursor.idx ?? null)],
      setSelect: [(plot) => { plot.zoomedByHand = plot.select.width > 0; }],
      drawAxes: [(plot) => drawMarks(plot, now.current.marks)],
      draw: [(plot) => drawLabels(plot, now.current.curves)],
      ready: [(plot) => plot.over.addEventListener("dblclick", () => { plot.zoomedByHand = false; })],
    },
  };
}

const framed = (low, high) => {
  if (low === null) return [0, 1];
  const [a, b] = extent([low, high]);
  return [a - (b - a) * 0.06, b + (b - a) * 0.06];
};

const labelWidth = (curves) => (curves.length > 1 && curves.length < 6 ? Math.min(150, 12 + 6.1 * Math.max(...curves.map((one) => (one.short ?? one.name).length))) : 14);

function measure(plot, values, axis, cycle) {
  if (cycle > 1) return plot.axes[axis]._size;
  const longest = (values ?? []).reduce((a, b) => (b.length > a.length ? b : a), "");
  return Math.max(34, 14 + 6.6 * longest.length);
}

/** The nearest point that is a number: curves that were measured at few places are read out between them, too. */
function nearest(plot, number, index, at) {
  const ys = plot.data[number];
  if (!number || ys[index] !== null) return index;
  for (let by = 1; by < ys.length; by++) {
    if (ys[index - by] !== undefined && ys[index - by] !== null) return index - by;
    if (ys[index + by] !== undefined && ys[index + by] !== null) return index + by;
  }
  return index;
}

/** Named lines across. */
function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  for (const { x, name } of marks) {
    const left = Math.round(plot.valToPos(x, "x", true));
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = token("--axis");
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = scaled();
    const over = left + ctx.measureText(name).width + 8 * devicePixelRatio > bbox.left + bbox.width;
    ctx.textAlign = over ? "right" : "left";
    ctx.fillText(name, left + (over ? -4 : 4) * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
    ctx.restore();
  }
}

const scaled = () => FONT.replace("11.5px", `${11.5 * devicePixelRatio}px`);

/** The name of each curve at its end, moved apart where two would meet. */
function drawLabels(plot, curves) {
  if (curves.length < 2 || curves.length > 5 || plot.axes[2].show) return;
  const { ctx, bbox } = plot;
  const gap = 13 * devicePixelRatio;
  const ends = curves
    .map((curve, i) => ({ curve, i, y: curve.points.findLast(([x, y]) => y !== null && x <= plot.scales.x.max)?.[1] }))
    .filter(({ curve, i, y }) => plot.series[i + 1]?.show && curve.axis !== "right" && Number.isFinite(y))
    .map((end) => ({ ...end, top: Math.min(Math.max(plot.valToPos(end.y, "y", true), bbox.top + 5), bbox.top + bbox.height - 5) }))
    .sort((a, b) => a.top - b.top);
  for (let i = 1; i < ends.length; i++) ends[i].top = Math.max(ends[i].top, ends[i - 1].top + gap);
  const over = ends.length ? ends.at(-1).top - (bbox.top + bbox.height) : 0;
  ctx.save();
  ctx.font = scaled();
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  for (const { curve, i, y, top } of ends) {
    ctx.fillStyle = colour(curve.number ?? i);
    const beyond = y < plot.scales.y.min ? " ↓" : y > plot.scales.y.max ? " ↑" : "";
    ctx.fillText((curve.short ?? curve.name) + beyond, bbox.left + bbox.width + 6 * devicePixelRatio, top - Math.max(over, 0));
  }
  ctx.restore();
}

/** uPlot's columns: every x once, and each curve's y there or null. */
export function aligned(curves) {
  if (!curves.length) return [[]];
  const [first, ...others] = curves.map((curve) => curve.points);
  const same = others.every((points) => points.length === first.length && points.every((point, i) => point[0] === first[i][0]));
  if (same) return [first.map((point) => point[0]), ...curves.map((curve) => curve.points.map((point) => point[1]))];
  const xs = [...new Set(curves.flatMap((curve) => curve.points.map((point) => point[0])))].sort((a, b) => a - b);
  return [xs, ...curves.map((curve) => {
    const known = new Map(curve.points);
    return xs.map((x) => known.get(x) ?? null);
  })];
}
