// Registered models: names, newest version, aliases. (The raw facts; a view of its own replaces this.)
import { useGet } from "./api.js";
import { html } from "./dom.js";
import { Empty } from "./components/empty.js";
import { Pending } from "./components/failure.js";
import { Table } from "./components/table.js";
import { Ago } from "./components/time.js";
import { to } from "./router.js";

export function Models() {
  const got = useGet("/v1/models");
  if (!got.data) return html`<h1>Models</h1><${Pending} got=${got} />`;
  const columns = [
    { key: "name", head: "Name", cell: (row) => html`<a href=${to.model(row.name, row.newest.version, row.project)}>${row.name}</a>` },
    { key: "project", head: "Project", cell: (row) => row.project },
    { key: "versions", head: "Versions", cell: (row) => row.versions },
    { key: "newest", head: "Newest", cell: (row) => html`<${Ago} time=${row.newest.created} />` },
  ];
  return html`<h1>Models</h1>${got.data.models.length
    ? html`<${Table} columns=${columns} rows=${got.data.models} id=${(row) => `${row.project}/${row.name}`} caption="Models" />`
    : html`<${Empty} title="No model is registered yet"><p>A spec with <code>register: name</code> registers what it trains.</p><//>`}`;
}
