// The jobs that were submitted together with this one, in the order of their needs.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { to } from "../router.js";
import { Icon } from "../components/icon.js";

const MOST = 12;

export function Pipeline({ job }) {
  const got = useGet("/v1/jobs", { params: { pipeline: job.pipeline, specs: false, limit: MOST + 1 }, every: job.finished ? 0 : 5 });
  const jobs = got.data?.jobs ?? [];
  const retried = job.retry_of && !jobs.some((one) => one.id === job.retry_of);
  if (jobs.length < 2 && !retried) return null;
  const shown = ordered(jobs).slice(0, MOST);
  return html`<nav class="pipeline" aria-label="Pipeline">
    ${retried && html`<a class="pipeline-job" href=${to.job(job.retry_of)}>retry of ${job.retry_of}</a>`}
    ${jobs.length > 1 && shown.map(
      (one, i) => html`${i > 0 && html`<span class="pipeline-arrow" aria-hidden="true"><${Icon} name="right" size=${13} /></span>`}
        <a key=${one.id} class="pipeline-job" href=${to.job(one.id)} aria-current=${one.id === job.id ? "page" : null} title=${`${one.kind} ${one.id}: ${one.state}`}>
          <span class=${`state state-${one.state}`}><${Icon} name=${one.state} size=${14} label=${one.state} /></span>${one.name}</a>`,
    )}
    ${got.data?.next_cursor || jobs.length > MOST ? html`<a class="pipeline-job" href=${`/jobs?pipeline=${job.pipeline}`}>all of them</a>` : null}
  </nav>`;
}

/** What is needed stands before what needs it. */
function ordered(jobs) {
  const left = [...jobs].reverse();
  const done = [];
  const known = new Set(left.map((job) => job.id));
  while (left.length) {
    const ready = left.findIndex((job) => Object.values(job.needs).every((need) => !known.has(need) || done.some((one) => one.id === need)));
    done.push(...left.splice(Math.max(ready, 0), 1));
  }
  return done;
}
