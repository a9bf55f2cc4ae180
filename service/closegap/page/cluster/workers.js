// Workers, lines of the queue and projects: who runs what, what is waited for, what each may hold.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { Empty } from "../components/empty.js";
import { Copyable } from "../components/copy.js";
import { Pending, Stale } from "../components/failure.js";
import { whole } from "../components/number.js";
import { Lines } from "./lines.js";
import { Projects } from "./projects.js";
import { Worker } from "./worker.js";

const EVERY = 3;

export function Workers() {
  const got = useGet("/v1/workers", { every: EVERY });
  const held = useGet("/v1/jobs", { params: { state: ["claimed", "running"], specs: false, limit: 500 }, every: EVERY });
  const workers = [...(got.data?.workers ?? [])].sort((a, b) => b.alive - a.alive || (a.id < b.id ? -1 : 1));
  const alive = workers.filter((worker) => worker.alive);
  const sum = (what) => alive.reduce((total, worker) => total + worker.capacity[what], 0);
  const taken = (what) => alive.reduce((total, worker) => total + (got.data.taken[worker.id]?.[what] ?? 0), 0);
  return html`<div class="page-head"><h1>Workers</h1>${got.data && html`<p class="muted number">${alive.length} alive · ${whole(taken("cpus"))} of ${whole(sum("cpus"))} CPUs taken${
      sum("gpus") ? ` · ${whole(taken("gpus"))} of ${whole(sum("gpus"))} GPUs taken` : ""
    }</p>`}</div>
    <${Stale} got=${got} />
    ${!got.data
      ? html`<${Pending} got=${got} />`
      : workers.length
        ? html`<ul class="workers">${workers.map((worker) => html`<${Worker} key=${worker.id} worker=${worker} taken=${got.data.taken[worker.id]}
            jobs=${(held.data?.jobs ?? []).filter((job) => worker.jobs.includes(job.id))} changed=${got.reload} />`)}</ul>`
        : html`<${Empty} title="No worker has been heard of"><p>Jobs wait until there is one. On a machine that reaches the store:</p><div class="empty-command"><${Copyable} text="closegap worker" what="command" /></div><//>`}
    <div class="two"><${Lines} /><${Projects} /></div>`;
}
