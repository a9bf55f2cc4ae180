// The state of a job: picture, word and colour together, never one of them alone.
import { html } from "../dom.js";
import { Icon } from "./icon.js";

export const STATES = ["blocked", "queued", "claimed", "running", "paused", "succeeded", "failed", "cancelled"];
export const OVER = new Set(["succeeded", "failed", "cancelled"]);
export const WAITING = new Set(["blocked", "queued", "paused"]);
const MEANS = {
  blocked: "waits for other jobs",
  queued: "waits for a worker",
  claimed: "a worker has it, its process starts",
  running: "an attempt works on it",
  paused: "held until somebody resumes it",
  succeeded: "over, its outputs are there",
  failed: "over, its retries are spent",
  cancelled: "over, somebody or a failed need ended it",
};
const WISHES = { cancelled: "cancelling", paused: "pausing", queued: "giving way" };

/** A state as words with its picture. `wish` is what is asked of a running job: `cancelling`, `pausing`. */
export function State({ state, wish, large = false }) {
  const asked = wish && !OVER.has(state) ? WISHES[wish.to] : null;
  return html`<span class=${`state state-${state} ${large ? "large" : ""}`} title=${MEANS[state]}>
    <${Icon} name=${state} size=${large ? 18 : 15} /><span>${asked ? `${asked}…` : state}</span></span>`;
}

/** The same for states of other things: `word` as it is, drawn as the state of a job that it is most like. */
export function Like({ state, word }) {
  return html`<span class=${`state state-${state}`}><${Icon} name=${state} size=${15} /><span>${word}</span></span>`;
}
