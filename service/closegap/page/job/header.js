// The head of a job's page: name, state, how far it is, what can be done.
import { html } from "../dom.js";
import { to } from "../router.js";
import { Copy } from "../components/copy.js";
import { LiveSign } from "../components/livesign.js";
import { units } from "../components/number.js";
import { Progress } from "../components/progress.js";
import { OVER, State } from "../components/state.js";
import { Facts } from "../components/table.js";
import { Ago, Took } from "../components/time.js";
import { who } from "../jobs/columns.js";
import { Priority } from "../jobs/priority.js";
import { useSession } from "../session.js";
import { Actions } from "./actions.js";

export function Header({ job, live, got }) {
  const { can } = useSession();
  const ran = job.started && html`<${Took} from=${job.started} to=${job.finished ?? (job.state === "running" ? null : job.updated)} />`;
  return html`<header class="job-head">
    <p class="crumbs"><a href=${to.jobs()}>Jobs</a><span aria-hidden="true">/</span><span>${job.project}</span><span aria-hidden="true">/</span><span>${job.kind}</span></p>
    <div class="job-title"><h1>${job.name}</h1><span class="job-id"><code>${job.id}</code><${Copy} text=${job.id} what="id" /></span>
      <${State} state=${job.state} wish=${job.wish} large /><${LiveSign} live=${live} over=${OVER.has(job.state)} />
      <span class="spring" /><${Actions} job=${job} got=${got} /></div>
    ${job.progress && !OVER.has(job.state) && html`<div class="job-progress"><${Progress} progress=${job.progress} running=${job.state === "running"} /></div>`}
    <${Facts} items=${[
      ["Submitted", html`<${Ago} time=${job.created} /> by ${who(job.submitted_by)}`],
      ["Waited", job.claimed || !OVER.has(job.state) ? html`<${Took} from=${job.created} to=${job.claimed} />` : null],
      ["Ran", ran],
      ["Finished", job.finished && html`<${Ago} time=${job.finished} />`],
      ["Attempt", job.attempt ? `${job.attempt}${spent(job)}` : null],
      ["Worker", job.owner && html`<a href="/workers"><code>${job.owner}</code></a>`],
      ["Priority", html`<${Priority} job=${job} changed=${got.put} editable=${can("submitter")} />`],
      ["Resources", resources(job.spec.resources)],
      ["Preemptible", job.preemptible ? "yes" : null],
      ["Labels", Object.keys(job.labels).length ? html`<span class="labels">${Object.entries(job.labels).map(
        ([name, value]) => html`<a key=${name} class="label" href=${to.jobs({ label: `${name}=${value}` })}>${name}=${value}</a>`,
      )}</span>` : null],
    ]} />
  </header>`;
}

const spent = (job) => {
  const classes = Object.entries(job.retries_spent).filter(([, count]) => count);
  return classes.length ? ` (${classes.map(([name, count]) => `${count} ${name}`).join(", ")})` : "";
};

function resources(asked) {
  if (!asked) return null;
  const { workers = 0, cpus = 1, gpus = 0 } = asked;
  return workers > 1 ? `${workers} × ${units({ cpus, gpus })}` : units({ cpus, gpus });
}
