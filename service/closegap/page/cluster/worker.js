// One worker: whether it lives, what it can hold and holds, what it runs.
import { api, useAction } from "../api.js";
import { html, useState } from "../dom.js";
import { to } from "../router.js";
import { useSession } from "../session.js";
import { Confirm } from "../components/dialog.js";
import { Failure } from "../components/failure.js";
import { measured } from "../components/number.js";
import { Bar, Progress } from "../components/progress.js";
import { Like, State } from "../components/state.js";
import { Ago, Took } from "../components/time.js";

export function Worker({ worker, taken, jobs, changed }) {
  const { me, can, everywhere } = useSession();
  const hidden = worker.jobs.length - jobs.length;
  return html`<li class=${`worker ${worker.alive ? "" : "worker-silent"}`}>
    <header><h2><code>${worker.id}</code></h2><${Standing} worker=${worker} /><span class="spring" />
      <span class="muted">heard of <${Ago} time=${worker.seen} /></span>${can("admin") && everywhere && html`<${Drain} worker=${worker} changed=${changed} me=${me} />`}</header>
    <div class="worker-parts">
      <div class="worker-room"><${Room} what="CPUs" taken=${taken?.cpus ?? 0} of=${worker.capacity.cpus} />
        ${worker.capacity.gpus > 0 && html`<${Room} what="GPUs" taken=${taken?.gpus ?? 0} of=${worker.capacity.gpus} />`}
        ${worker.capacity.kinds && html`<p class="muted">only ${worker.capacity.kinds.join(", ")}</p>`}</div>
      <ul class="worker-jobs">${jobs.map(
        (job) => html`<li key=${job.id}><${State} state=${job.state} wish=${job.wish} /><span class="worker-job"><a href=${to.job(job.id)}>${job.name}</a> <span class="muted">${job.kind}</span></span>
          ${job.progress ? html`<${Progress} progress=${job.progress} compact running=${job.state === "running"} />` : html`<span class="muted"><${Took} from=${job.claimed} /></span>`}</li>`,
      )}${hidden > 0 && html`<li class="muted">${hidden} more</li>`}${!worker.jobs.length && html`<li class="muted">${worker.alive ? (worker.drained_by ? "Runs nothing and takes nothing" : "Idle") : "Held nothing"}</li>`}</ul>
    </div></li>`;
}

function Standing({ worker }) {
  if (!worker.alive) return html`<${Like} state="cancelled" word="silent" />`;
  if (worker.drained_by) return html`<${Like} state="paused" word=${`drained by ${worker.drained_by.replace(/ \(token .*\)$/, "")}`} />`;
  return html`<${Like} state=${worker.jobs.length ? "running" : "succeeded"} word=${worker.jobs.length ? "works" : "ready"} />`;
}

const Room = ({ what, taken, of }) => html`<div class="room"><span class="number">${measured(taken)} of ${measured(of)} <span class="muted">${what}</span></span>
  <${Bar} share=${of ? Math.min(taken / of, 1) : 0} label=${`${what} taken`} /></div>`;

function Drain({ worker, changed }) {
  const [asking, setAsking] = useState(false);
  const [now, setNow] = useState(false);
  const path = `/v1/workers/${encodeURIComponent(worker.id)}`;
  const [drain, draining] = useAction(async () => {
    await api.post(`${path}:drain`, { params: { now } });
    setAsking(false);
    changed();
  });
  const [undrain, undraining] = useAction(async () => (await api.post(`${path}:undrain`), changed()));
  if (worker.drained_by) {
    return html`<button type="button" class="button small" disabled=${undraining.busy} onClick=${() => undrain()}>Let it work</button>
      ${undraining.problem && html`<${Failure} problem=${undraining.problem} small />`}`;
  }
  return html`<button type="button" class="button small" onClick=${() => setAsking(true)}>Drain…</button>
    ${asking && html`<${Confirm} title=${`Drain ${worker.id}?`} yes="Drain it" no="Leave it" act=${drain} state=${draining} close=${() => setAsking(false)}
      words="It takes no further job, so that its machine can be stopped. It can be let work again.">
      ${worker.jobs.length > 0 && html`<label class="check"><input type="checkbox" checked=${now} onChange=${() => setNow(!now)} />Also give back what it runs, with a checkpoint</label>`}<//>`}`;
}
