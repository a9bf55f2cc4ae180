// What several views show: tiles of single figures, sections, words where there is nothing yet.
import { html } from "../dom.js";
import { measured } from "../components/number.js";
import { Like } from "../components/state.js";

/** A value of a spec as people read it. */
export function saidOf(value) {
  if (typeof value === "number") return measured(value);
  if (Array.isArray(value)) return value.map(saidOf).join(", ");
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** `items`: [[name, value, more]]; those without a value are left out. */
export const Tiles = ({ items }) => html`<dl class="tiles">${items
  .filter(([, value]) => value !== null && value !== undefined && value !== "–")
  .map(([name, value, more]) => html`<div key=${name}><dt>${name}</dt><dd><span class="number">${value}</span>${more && html`<span class="tile-more muted">${more}</span>`}</dd></div>`)}</dl>`;

export const Section = ({ title, lead, children }) => html`<section class="work"><h2>${title}</h2>${lead && html`<p class="muted work-lead">${lead}</p>`}${children}</section>`;

/** Charts side by side. */
export const Grid = ({ children, three = false }) => html`<div class=${`charts ${three ? "three" : ""}`}>${children}</div>`;

const BEFORE = {
  blocked: ["It waits for other jobs", "What it measures is drawn here once it runs."],
  queued: ["It waits for a worker", "What it measures is drawn here once it runs."],
  claimed: ["A worker has it", "Its process starts; that takes a few seconds."],
  running: ["It has begun", "The first figures come with its first epoch or check."],
  paused: ["It is paused", "It goes on where it stopped once somebody resumes it."],
  cancelled: ["It was cancelled before it measured anything", ""],
  failed: ["It failed before it measured anything", "Why is said above; its log has more."],
  succeeded: ["It left nothing to draw", ""],
};

/** What a job that has no figures yet says of itself. */
export function Nothing({ job, children }) {
  const [title, words] = BEFORE[job.state] ?? BEFORE.running;
  return html`<div class="empty"><h2>${title}</h2><div class="empty-words">${words && html`<p>${words}</p>`}${children}</div></div>`;
}

/** Whether something was good enough, as picture, word and colour. */
export const Verdict = ({ good, word = good ? "passed" : "failed" }) => html`<span class="judged"><${Like} state=${good ? "succeeded" : "failed"} word=${word} /></span>`;

/** Sentences that an evaluation says of a model. */
export const Sentences = ({ items }) => (items?.length ? html`<ul class="sentences">${items.map((item, i) => html`<li key=${i}>${item}</li>`)}</ul>` : null);
