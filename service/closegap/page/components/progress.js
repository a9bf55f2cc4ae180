// How far a job is: bar, share, rate and what is left.
import { html } from "../dom.js";
import { measured, whole } from "./number.js";
import { between, span, useClock } from "./time.js";

const SILENT = 90;
/** Units come as one of them: a step, a pass. */
const plural = (unit) => (/(s|x|ch|sh)s?$/.test(unit) && !/[^s]s$/.test(unit) ? `${unit}es` : /s$/.test(unit) ? unit : `${unit}s`);
const amount = (value) => (Number.isInteger(value) ? whole(value) : measured(value, 3));

/** `progress` as the API has it: {done, total, unit, rate, eta, updated}. `compact` for a row of a table. */
export function Progress({ progress, running = true, compact = false }) {
  useClock(running);
  const { done, total, rate, updated } = progress;
  const unit = plural(progress.unit);
  const share = total ? Math.min(done / total, 1) : null;
  const left = running && Number.isFinite(progress.eta) ? Math.max(progress.eta - between(updated), 0) : null;
  const said = total ? `${amount(done)} of ${amount(total)} ${unit}` : `${amount(done)} ${unit}`;
  const silent = running && between(updated) > SILENT ? `no report for ${span(between(updated))}` : "";
  const ends = silent || (left === null || share === 1 ? "" : left < 1 ? "ends soon" : `${span(left)} left`);
  const title = [said, rate ? `${measured(rate, 3)} ${unit} a second` : "", ends].filter(Boolean).join(" · ");
  return html`<div class=${`progress ${compact ? "compact" : ""}`} title=${title}>
    ${share === null ? null : html`<${Bar} share=${share} label=${said} />`}
    <span class="progress-words">
      <span class="number">${share === null ? said : compact ? `${Math.floor(share * 100)} %` : `${Math.floor(share * 100)} % · ${said}`}</span>
      ${compact || !rate || !running ? null : html`<span class="muted number"> · ${measured(rate, 3)} ${unit}/s</span>`}
      ${ends && html`<span class="muted number"> · ${ends}</span>`}
    </span>
  </div>`;
}

/** A bar from 0 to 1 with what it means. */
export function Bar({ share, label }) {
  return html`<div class="bar" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${Math.round(share * 100)}><div class="bar-done" style=${{ width: `${share * 100}%` }} /></div>`;
}
