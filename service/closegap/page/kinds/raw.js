// A job's numbers as they are, for a kind that has no view of its own.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { Empty } from "../components/empty.js";
import { Pending } from "../components/failure.js";
import { measured, whole } from "../components/number.js";
import { Table } from "../components/table.js";

const COLUMNS = [
  { key: "name", head: "Series", cell: (row) => html`<code>${row.name}</code>` },
  { key: "x", head: "Over", cell: (row) => row.x },
  { key: "count", head: "Points", class: "right", cell: (row) => whole(row.count) },
  { key: "last", head: "Last", class: "right", cell: (row) => measured(row.points.at(-1)?.[1]) },
];

export function Raw({ job }) {
  const got = useGet(`/v1/jobs/${job.id}/metrics`, { params: { points: 2 }, every: job.finished ? 0 : 5 });
  if (!got.data) return html`<${Pending} got=${got} />`;
  if (!got.data.series.length) return html`<${Empty} title="Nothing is measured yet"><p>Numbers that the job reports are shown here as they come.</p><//>`;
  return html`<${Table} columns=${COLUMNS} rows=${got.data.series} id=${(row) => `${row.event}/${row.name}`} caption="Series" dense />`;
}
