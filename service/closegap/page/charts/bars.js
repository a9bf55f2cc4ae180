// Quantities side by side: lying bars with their errors, and standing ones for many dimensions.
import { html, useState } from "../dom.js";
import { Figure } from "./figure.js";
import { label, linear, ticks } from "./scale.js";
import { useWidth } from "./width.js";
import { estimated, measured } from "../components/number.js";

const LINE = 26;
const FOOT = 34;

/** `groups`: [{name, bars: [{name, value, error, number, said}]}]; every bar has its value beside it. */
export function Bars({ title, unit, note, groups, wide, x }) {
  const [place, width] = useWidth();
  const bars = groups.flatMap((group) => group.bars);
  const left = Math.min(Math.max(90, 20 + 6.6 * Math.max(...bars.map((bar) => bar.name.length))), Math.max(90, width * 0.42));
  const lowest = Math.min(0, ...bars.map((bar) => bar.value - (bar.error ?? 0)));
  const highest = Math.max(0, ...bars.map((bar) => bar.value + (bar.error ?? 0)));
  const across = linear([lowest, highest], [left + (lowest < 0 ? 70 : 0), Math.max(width - 110, left + 10)]);
  let top = 4;
  const placed = groups.map((group) => {
    const head = groups.length > 1 ? 22 : 0;
    const start = top;
    top += head + group.bars.length * LINE + 10;
    return { ...group, start, first: start + head };
  });
  const named = ticks(lowest, highest, Math.max(2, Math.floor((width - left) / 110)));
  return html`<${Figure} title=${title} unit=${unit} note=${note} wide=${wide}
      table=${() => ({ head: ["", "value", "error"], rows: groups.flatMap((group) => group.bars.map((bar) => [[group.name, bar.name].filter(Boolean).join(", "), bar.value, bar.error ?? null])) })}>
    <div class="plot" ref=${place} role="img" tabindex="0" aria-label=${`${title}: ${bars.map((bar) => `${bar.name} ${measured(bar.value)}`).join(", ")}`}>
      ${width > 0 && html`<svg width=${width} height=${top + FOOT - 6} aria-hidden="true">
        ${named.map((value) => html`<g key=${value} class="grid"><path d=${`M${across(value)} 0V${top}`} />
          <text x=${across(value)} y=${top + 12} text-anchor="middle">${label(value)}</text></g>`)}
        ${x && html`<text class="tick" x=${(left + width - 110) / 2} y=${top + 26} text-anchor="middle">${x}</text>`}
        ${placed.map((group) => html`<g key=${group.name}>${groups.length > 1 && html`<text class="group" x="0" y=${group.start + 14}>${group.name}</text>`}
          ${group.bars.map((bar, i) => html`<${Bar} key=${bar.name} ...${{ bar, across, left }} y=${group.first + i * LINE} />`)}</g>`)}
        <path class="axis-line" d=${`M${across(0)} 0V${top}`} /></svg>`}
    </div><//>`;
}

function Bar({ bar, across, left, y }) {
  const [from, to] = [across(0), across(bar.value)].sort((a, b) => a - b);
  const middle = y + LINE / 2;
  const error = bar.error ? [across(bar.value - bar.error), across(bar.value + bar.error)] : null;
  const end = Math.max(to, error?.[1] ?? 0) + 7;
  return html`<g><text class="bar-name" x=${left - 10} y=${middle} dy="0.34em" text-anchor="end">${bar.name}</text>
    <rect class=${`fill-${bar.number ?? 0}`} x=${from} width=${Math.max(to - from, 1)} y=${y + 5} height=${LINE - 10} rx="1.5" />
    ${error && html`<path class="whisker" d=${`M${error[0]} ${middle}H${error[1]}M${error[0]} ${middle - 4}v8M${error[1]} ${middle - 4}v8`} />`}
    <text class="bar-value" x=${end} y=${middle} dy="0.34em">${bar.said ?? estimated(bar.value, bar.error, 4)}</text></g>`;
}

/** `values`: of dimensions, highest first, with their `names`; those that are `pale` are drawn so. */
export function Columns({ title, unit, note, values, names, pale, height = 190, x }) {
  const [place, width] = useWidth();
  const [at, setAt] = useState(null);
  const [left, foot] = [46, 30];
  const highest = Math.max(...values, 1e-9);
  const across = linear([0, values.length], [left, Math.max(width - 8, left + 1)]);
  const up = linear([0, highest], [height - foot, 10]);
  const gap = values.length && (width - left - 8) / values.length > 4 ? 1 : 0;
  const paths = [0, 1].map((which) => values.map((value, i) => (Number(pale?.[i] ?? false) === which && value > 0
    ? `M${across(i) + gap / 2} ${up(0)}V${up(value)}H${across(i + 1) - gap / 2}V${up(0)}z` : "")).join(""));
  const move = (event) => {
    const i = Math.floor(across.invert(event.clientX - event.currentTarget.getBoundingClientRect().left));
    setAt(i >= 0 && i < values.length ? i : null);
  };
  const press = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    setAt(Math.min(Math.max((at ?? (by > 0 ? -1 : values.length)) + by, 0), values.length - 1));
  };
  return html`<${Figure} title=${title} unit=${unit} note=${note}
      table=${() => ({ head: [x, title], rows: values.map((value, i) => [names[i], value]) })}>
    <div class="legend"><span class="faint number legend-at">${at === null ? "" : `${names[at]}: ${measured(values[at])}`}</span></div>
    <div class="plot" ref=${place} tabindex="0" role="img" onKeyDown=${press} aria-label=${`${title} of ${values.length} dimensions, highest first. Arrow keys read values out.`}>
      ${width > 0 && html`<svg width=${width} height=${height} onPointerMove=${move} onPointerLeave=${() => setAt(null)} aria-hidden="true">
        ${ticks(0, highest, 4).map((value) => html`<g key=${value} class="grid"><path d=${`M${left} ${up(value)}H${width - 8}`} />
          <text x=${left - 6} y=${up(value)} dy="0.34em" text-anchor="end">${label(value)}</text></g>`)}
        <path class="fill-0" d=${paths[0]} /><path class="fill-0 pale" d=${paths[1]} />
        ${at !== null && html`<rect class="over" x=${across(at)} width=${across(at + 1) - across(at)} y="10" height=${height - foot - 10} />`}
        <path class="axis-line" d=${`M${left} ${up(0)}H${width - 8}`} />
        <text class="tick" x=${(left + width - 8) / 2} y=${height - 8} text-anchor="middle">${x}</text></svg>`}
    </div><//>`;
}
