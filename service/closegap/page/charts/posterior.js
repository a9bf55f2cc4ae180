// One row's q(z | x): each dimension's mean with ± one standard deviation.
import { html } from "../dom.js";
import { extent, label, linear, ticks } from "./scale.js";
import { useWidth } from "./width.js";

const [HEIGHT, LEFT, FOOT] = [96, 38, 6];

export function Posterior({ mean, deviation, label: said }) {
  const [place, width] = useWidth();
  const across = linear([-0.5, mean.length - 0.5], [LEFT, Math.max(width - 4, LEFT + 1)]);
  const [low, high] = extent([0, ...mean.flatMap((value, i) => [value - deviation[i], value + deviation[i]])]);
  const up = linear([low, high], [HEIGHT - FOOT, 6]);
  const size = mean.length > 200 ? 1.2 : mean.length > 60 ? 2 : 3;
  return html`<div class="plot" ref=${place} role="img" aria-label=${`${said}: means ${mean.slice(0, 8).map((value) => label(value)).join(", ")}${mean.length > 8 ? " and so on" : ""}`}>
    ${width > 0 && html`<svg width=${width} height=${HEIGHT} aria-hidden="true">
      ${ticks(low, high, 3).map((value) => html`<g key=${value} class="grid"><path d=${`M${LEFT} ${up(value)}H${width - 4}`} /><text x=${LEFT - 6} y=${up(value)} dy="0.34em" text-anchor="end">${label(value)}</text></g>`)}
      <path class="axis-line" d=${`M${LEFT} ${up(0)}H${width - 4}`} />
      <path class="posterior-line" d=${mean.map((value, i) => `M${across(i)} ${up(value - deviation[i])}V${up(value + deviation[i])}`).join("")} />
      ${mean.map((value, i) => html`<circle key=${i} class="fill-0" cx=${across(i)} cy=${up(value)} r=${size}><title>z[${i}]: ${label(value)} ± ${label(deviation[i])}</title></circle>`)}</svg>`}</div>`;
}
