// What can be done with the jobs that are selected.
import { api, useAction } from "../api.js";
import { html, useState } from "../dom.js";
import { Confirm } from "../components/dialog.js";
import { Icon } from "../components/icon.js";
import { whole } from "../components/number.js";
import { OVER } from "../components/state.js";

const AT_ONCE = 6;

/** `picked`: the jobs that are selected. `everything`: not only they, but every job of the filter, also on other pages. */
export function Bulk({ picked, page, everything, setEverything, filter, filtered, more, done }) {
  const [asking, setAsking] = useState(false);
  const open = picked.filter((job) => !OVER.has(job.state));
  const [cancel, state] = useAction(async () => {
    if (everything) await api.post("/v1/jobs:cancel", { body: selection(filter) });
    else await each(open, (job) => api.post(`/v1/jobs/${job.id}:cancel`));
    setAsking(false);
    done();
  });
  const every = `every job${filter.project.length ? ` of ${filter.project}` : ""}${filtered ? " that matches the filter" : ""}`;
  const what = everything ? every : `${whole(open.length)} job${open.length === 1 ? "" : "s"}`;
  return html`<div class="bulk" role="region" aria-label="Selected jobs">
    <strong>${everything ? (filtered ? "All that match are selected" : `${every.replace("every job", "All jobs")} are selected`) : `${whole(picked.length)} selected`}</strong>
    ${page && more && !everything && html`<button type="button" class="quiet" onClick=${() => setEverything(true)}>Select all that match, on every page</button>`}
    <span class="spring" />
    ${!everything && open.length < picked.length && html`<span class="muted">${whole(picked.length - open.length)} over already</span>`}
    <button type="button" class="button danger" disabled=${!everything && !open.length} onClick=${() => setAsking(true)}>Cancel ${everything ? "all" : whole(open.length)}…</button>
    <button type="button" class="icon-button" onClick=${done} aria-label="Select none" title="Select none (Esc)"><${Icon} name="close" /></button>
    ${asking && html`<${Confirm} title=${`Cancel ${what}?`} act=${cancel} state=${state} close=${() => setAsking(false)} yes=${`Cancel ${everything ? "all of them" : what}`} no="Keep them"
      words="Jobs that wait are over at once. Those that run stop at their next checkpoint, within their grace time. Jobs that need them do not run. A cancelled job can be retried and goes on from its checkpoint." />`}
  </div>`;
}

/** The filter of the list as a selection of jobs; the list's several projects are one at most. */
function selection(filter) {
  const found = {};
  if (filter.state.length) found.states = filter.state;
  if (filter.kind.length) found.kinds = filter.kind;
  if (filter.label.length) found.labels = Object.fromEntries(filter.label.map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)]));
  if (filter.name.length) found.name = filter.name;
  if (filter.pipeline.length) found.pipeline = filter.pipeline;
  if (filter.project.length) found.project = filter.project;
  return Object.keys(found).length ? found : { all: true };
}

async function each(items, act) {
  const waiting = [...items];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (waiting.length) await act(waiting.shift());
  }));
}
