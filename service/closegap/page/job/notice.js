// What one must know before anything else: why a job waits, why it failed, what is asked of it.
import { useGet } from "../api.js";
import { html, useState } from "../dom.js";
import { to } from "../router.js";
import { Copy } from "../components/copy.js";
import { Icon } from "../components/icon.js";
import { OVER, WAITING } from "../components/state.js";
import { exact, span, useClock } from "../components/time.js";

export function Notice({ job }) {
  if (job.state === "failed" || (job.error && !OVER.has(job.state))) return html`<${Failed} job=${job} />${WAITING.has(job.state) && html`<${Waits} job=${job} />`}`;
  if (WAITING.has(job.state)) return html`<${Waits} job=${job} />`;
  if (job.state === "cancelled") {
    return html`<p class="notice"><${Icon} name="cancelled" /><span>${job.reason}${
      job.cancelled_by && html` – <a href=${to.job(job.cancelled_by)}>${job.cancelled_by}</a>`
    }</span></p>`;
  }
  if (job.wish) {
    return html`<p class="notice"><${Icon} name="queued" /><span>It is asked to stop at its next checkpoint: ${job.wish.reason} (${job.wish.actor})${
      job.wish.beneficiary && html`, for <a href=${to.job(job.wish.beneficiary)}>${job.wish.beneficiary}</a>`
    }.</span></p>`;
  }
  return null;
}

function Waits({ job }) {
  const got = useGet(`/v1/jobs/${job.id}/position`, { every: 3 });
  if (!got.data) return null;
  const { place, reason, unblocked_by: by } = got.data;
  return html`<div class="notice"><${Icon} name=${job.state} /><div>
    <p>${place && html`<strong>Number ${place} in the line.</strong> `}${capital(reason)}.${job.not_before && html` <${Until} time=${job.not_before} />`}</p>
    ${by && html`<p class="muted">What would let it run: <${Linked} text=${by} /></p>`}</div></div>`;
}

function Until({ time }) {
  useClock();
  const left = (Date.parse(time) - Date.now()) / 1000;
  return left > 0 ? html`<span title=${exact(time)}>Tried again in ${span(left)}.</span>` : null;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const JOB = /\b([a-z]+-[0-9a-f]{8})\b/;

/** Text in which ids of jobs are links. */
export function Linked({ text }) {
  return html`<span>${text.split(JOB).map((part, i) => (i % 2 ? html`<a href=${to.job(part)}>${part}</a>` : part))}</span>`;
}

const ADVICE = {
  user: "It would fail again as it is: change the spec, then submit it.",
  numerical: "It is not tried again by itself: change the spec, then submit it.",
  infrastructure: "The machine or the network failed, not the spec; a retry goes on from the last checkpoint.",
  preempted: "It made way for another job, more often than its retries allow.",
};

function Failed({ job }) {
  const [open, setOpen] = useState(false);
  const { error } = job;
  if (!error) return html`<p class="notice notice-failed"><${Icon} name="failed" /><span>${job.reason}</span></p>`;
  const over = job.state === "failed";
  return html`<div class="notice notice-failed"><${Icon} name=${over ? "failed" : "warning"} /><div>
    <p><strong>${over ? "Failed" : "The attempt before failed"}</strong>, class <span class="class">${error.failure}</span></p>
    <p class="failed-message">${error.message}</p>
    ${error.hint && html`<p><strong>Hint</strong> ${error.hint}</p>`}
    ${over && html`<p class="muted">${ADVICE[error.failure] ?? ""}</p>`}
    <p class="notice-ways">${error.traceback && html`<button type="button" class="button small" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide the traceback" : "Traceback"}</button>`}
      <a class="button small" href=${to.job(job.id, "logs")}>Logs</a>
      <${Copy} text=${`${error.failure}: ${error.message}\n${error.traceback}`} what="error" words="Copy" /></p>
    ${open && html`<pre class="code traceback" tabindex="0">${error.traceback}</pre>`}
  </div></div>`;
}
