// The lines of the queue: jobs of one project that ask for the same wait behind one another.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { to } from "../router.js";
import { Pending } from "../components/failure.js";
import { units, whole } from "../components/number.js";
import { Table } from "../components/table.js";

const COLUMNS = [
  { key: "project", head: "Project", cell: (line) => line.project },
  { key: "kind", head: "Kind", cell: (line) => line.kind },
  { key: "asks", head: "Each asks for", cell: (line) => html`<span class="number">${units(line)}</span>` },
  { key: "waiting", head: "Waiting", class: "right number", cell: (line) => html`<a href=${to.jobs({ state: "queued", kind: line.kind })}>${whole(line.waiting)}</a>` },
  { key: "first", head: "First", class: "right", cell: (line) => html`<a href=${to.job(line.first)}><code>${line.first}</code></a>` },
];

export function Lines() {
  const got = useGet("/v1/lines", { every: 5 });
  const lines = got.data?.lines ?? [];
  return html`<section class="section"><h2>Waiting</h2>
    ${!got.data
      ? html`<${Pending} got=${got} lines=${2} />`
      : lines.length
        ? html`<${Table} columns=${COLUMNS} rows=${lines} id=${(line) => `${line.project}|${line.kind}|${line.cpus}|${line.gpus}`} caption="Lines of the queue" dense />`
        : html`<p class="muted">No job waits for a worker.</p>`}</section>`;
}
