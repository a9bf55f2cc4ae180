// What became of a job: its states with reasons, actors and how long each lasted, attempt by attempt.
import { html, useMemo } from "../dom.js";
import { Failure } from "../components/failure.js";
import { Loading } from "../components/empty.js";
import { Icon } from "../components/icon.js";
import { OVER } from "../components/state.js";
import { Ago, between, clock, exact, span, useClock } from "../components/time.js";
import { who } from "../jobs/columns.js";
import { Linked } from "./notice.js";
import { usePast } from "./past.js";

const SHOWN = ["state"];

export function History({ job, live }) {
  const past = usePast(job, live, SHOWN, 1000);
  useClock(!OVER.has(job.state));
  const entries = useMemo(() => timed(past.events), [past.events]);
  if (past.problem) return html`<${Failure} problem=${past.problem} />`;
  if (past.loading) return html`<${Loading} lines=${6} />`;
  const states = entries.filter((entry) => entry.event.type === "state");
  return html`<${Spent} states=${states} />
    <ol class="timeline">${entries.filter((entry) => entry.event.type !== "end").map((entry) => html`<${Entry} key=${entry.event.id} entry=${entry} />`)}</ol>`;
}

/** Each event with when what it began ended. */
function timed(events) {
  const states = events.filter((event) => event.type === "state");
  return events.map((event) => {
    const next = event.type === "state" ? states[states.indexOf(event) + 1] : null;
    return { event, until: next?.time ?? null };
  });
}

/** Where the time went: one bar, a piece for each state that lasted. */
function Spent({ states }) {
  const pieces = states.filter(({ event }) => !OVER.has(event.data.to)).map(({ event, until }) => ({ state: event.data.to, seconds: between(event.time, until) }));
  const whole = pieces.reduce((sum, piece) => sum + piece.seconds, 0);
  if (!pieces.length || whole <= 0) return null;
  const sums = new Map();
  for (const { state, seconds } of pieces) sums.set(state, (sums.get(state) ?? 0) + seconds);
  return html`<section class="spent"><div class="spent-bar" aria-hidden="true">${pieces.map(
    (piece, i) => html`<div key=${i} class=${`spent-piece of-${piece.state}`} style=${{ flexGrow: piece.seconds / whole }} />`,
  )}</div><p class="spent-words">${[...sums].map(
    ([state, seconds]) => html`<span key=${state} class="spent-word"><span class=${`swatch of-${state}`} aria-hidden="true" />${state} <span class="number muted">${span(seconds)} · ${Math.round((100 * seconds) / whole)} %</span></span>`,
  )}</p></section>`;
}

const STARTED = /^attempt (\d+)$/;

function Entry({ entry: { event, until } }) {
  const { data, type } = event;
  const attempt = data.to === "claimed" && STARTED.exec(data.reason ?? "")?.[1];
  const picture = type === "state" ? data.to : type === "wish" ? "queued" : "copy";
  return html`<li class=${`entry ${attempt ? "entry-attempt" : ""}`}>
    <time class="entry-time number" datetime=${event.time} title=${exact(event.time)}>${clock(event.time)}</time>
    <span class=${`entry-mark state-${type === "state" ? data.to : "queued"}`}><${Icon} name=${picture} size=${17} /></span>
    <div class="entry-words"><p>${type === "state"
        ? html`<strong class=${`state-${data.to}`}>${data.to}</strong> `
        : type === "wish" ? html`<strong>asked to become ${data.to}</strong> ` : html`<strong>changed</strong> `}<${Linked} text=${type === "change" ? changes(data) : data.reason ?? ""} /></p>
      <p class="muted">${data.actor && `by ${who(data.actor)}`}${type === "state" && !OVER.has(data.to) ? html`${data.actor && ", "}for <span class="number">${span(between(event.time, until))}</span>` : html`${data.actor && ", "}<${Ago} time=${event.time} />`}</p></div>
  </li>`;
}

const changes = ({ priority, labels }) =>
  [priority === undefined || priority === null ? "" : `priority ${priority}`, ...Object.entries(labels ?? {}).map(([name, value]) => (value === null ? `without label ${name}` : `label ${name}=${value}`))]
    .filter(Boolean).join(", ");
