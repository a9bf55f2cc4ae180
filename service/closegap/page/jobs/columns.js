// What the list says of each job.
import { html } from "../dom.js";
import { to, withQuery } from "../router.js";
import { measured } from "../components/number.js";
import { Progress } from "../components/progress.js";
import { State, WAITING } from "../components/state.js";
import { Ago, Took } from "../components/time.js";
import { Priority } from "./priority.js";

/** Columns of the table. `waiting`: why each waits, by id; `changed`: ask again after a change. */
export function columns({ waiting, chosen, toggle, rows, setChosen, session, changed }) {
  const all = rows.length > 0 && rows.every((job) => chosen.has(job.id));
  const pick = {
    key: "pick",
    class: "pick",
    head: html`<input type="checkbox" aria-label="Select all on this page" checked=${all}
      onChange=${() => setChosen(new Map(all ? [] : rows.map((job) => [job.id, job])))} />`,
    cell: (job) => html`<input type="checkbox" aria-label=${`Select ${job.id}`} checked=${chosen.has(job.id)} onChange=${() => toggle(job.id)} />`,
  };
  return [
    ...(session.can("submitter") ? [pick] : []),
    { key: "state", head: "State", class: "nowrap", cell: (job) => html`<${State} state=${job.state} wish=${job.wish} />` },
    { key: "name", head: "Job", class: "grow", cell: (job) => html`<${Name} job=${job} />` },
    { key: "kind", head: "Kind", class: "muted nowrap not-narrow", cell: (job) => job.kind },
    { key: "how", head: "Progress, or why it waits", class: "how", cell: (job) => html`<${How} job=${job} why=${waiting[job.id]} />` },
    {
      key: "priority", head: "Priority", class: "right not-narrow", title: "Higher goes first",
      cell: (job) => html`<${Priority} job=${job} changed=${changed} editable=${session.can("submitter")} />`,
    },
    ...(session.project ? [] : [{ key: "project", head: "Project", class: "nowrap not-narrow", cell: (job) => job.project }]),
    { key: "by", head: "By", class: "nowrap muted only-wide", cell: (job) => html`<span title=${job.submitted_by}>${who(job.submitted_by)}</span>` },
    { key: "created", head: "Submitted", class: "nowrap right muted not-narrow", cell: (job) => html`<${Ago} time=${job.created} />` },
    { key: "took", head: "Ran", class: "nowrap right", cell: (job) => html`<${Took} from=${job.started} to=${job.finished ?? (job.state === "running" ? null : job.updated)} />` },
  ];
}

/** "alice (token 5c1e…)" is alice. */
export const who = (actor) => actor.replace(/ \(token [0-9a-f]+\)$/, "");

function Name({ job }) {
  return html`<span class="job-name"><a href=${to.job(job.id)}>${job.name}</a> <code class="faint">${job.id}</code>
    ${Object.entries(job.labels).map(
      ([name, value]) => html`<a key=${name} class="label" href=${withQuery({ label: [`${name}=${value}`], cursor: null }, { path: "/jobs" })}
        title="Only jobs with this label">${name}=${value}</a>`,
    )}</span>`;
}

function How({ job, why }) {
  if (job.state === "running" && job.progress) return html`<${Progress} progress=${job.progress} compact />`;
  if (WAITING.has(job.state) && why) {
    const title = why.unblocked_by ? `${why.reason}. What would let it run: ${why.unblocked_by}` : why.reason;
    return html`<span class="why" title=${title}>${why.place ? html`<span class="place number">#${why.place}</span> ` : ""}<span class="muted">${why.reason}</span></span>`;
  }
  if (job.state === "failed" && job.error) {
    return html`<span class="why" title=${job.error.message}><span class="class">${job.error.failure}</span> ${job.error.message}</span>`;
  }
  if (job.state === "succeeded") return html`<${Results} outputs=${job.outputs} />`;
  const said = job.state === "claimed" ? `starting on ${job.owner}` : job.reason;
  return html`<span class="why muted" title=${said}>${said}</span>`;
}

/** The numbers that a job has left. */
function Results({ outputs }) {
  const numbers = Object.entries(outputs).filter(([, value]) => typeof value === "number");
  return html`<span class="why results">${numbers.map(
    ([name, value]) => html`<span key=${name}><span class="muted">${name.replaceAll("_", " ")}</span> <span class="number">${measured(value, 5)}</span></span>`,
  )}</span>`;
}
