// Registered models: names with their versions and aliases.
import { useGet } from "./api.js";
import { html } from "./dom.js";
import { Empty } from "./components/empty.js";
import { Pending, Stale } from "./components/failure.js";
import { Icon } from "./components/icon.js";
import { whole } from "./components/number.js";
import { Table } from "./components/table.js";
import { Ago } from "./components/time.js";
import { setQuery, to } from "./router.js";
import { useSession } from "./session.js";

const COLUMNS = [
  { key: "name", head: "Name", cell: (row) => html`<a class="model-name" href=${to.model(row.name, null, row.project)}>${row.name}</a>` },
  { key: "newest", head: "Newest", class: "number", cell: (row) => html`<a href=${to.model(row.name, row.newest.version, row.project)}>version ${row.newest.version}</a> <span class="muted">of ${whole(row.versions)}</span>` },
  { key: "aliases", head: "Aliases", cell: (row) => (row.aliases.length ? html`<span class="aliases">${row.aliases.map((alias) => html`<a key=${alias.alias} class="label"
    href=${to.model(row.name, alias.version, row.project)} title=${`version ${alias.version}, set by ${alias.actor}`}>@${alias.alias} → ${alias.version}</a>`)}</span>` : html`<span class="faint">none</span>`) },
  { key: "job", head: "Made by", class: "not-narrow", cell: (row) => html`<a href=${to.job(row.newest.job)}><code>${row.newest.job}</code></a>` },
  { key: "project", head: "Project", class: "not-narrow muted", cell: (row) => row.project },
  { key: "created", head: "Registered", class: "right nowrap", cell: (row) => html`<${Ago} time=${row.newest.created} />` },
];

export function Models({ query }) {
  const { project } = useSession();
  const got = useGet("/v1/models", { every: 30 });
  const wanted = query.get("name") ?? "";
  if (!got.data) return html`<h1>Models</h1><${Pending} got=${got} />`;
  const mine = got.data.models.filter((row) => !project || row.project === project);
  const rows = mine.filter((row) => row.name.toLowerCase().includes(wanted.toLowerCase()));
  return html`<header class="models-top"><h1>Models</h1><span class="count">${whole(rows.length)}</span><span class="spring" />
      ${mine.length > 5 || wanted ? html`<span class="search"><${Icon} name="search" size=${15} /><input type="search" value=${wanted} aria-label="Search by name" placeholder="Name"
        onInput=${(event) => setQuery({ name: event.currentTarget.value }, { replace: true })} /></span>` : null}</header>
    <${Stale} got=${got} />
    ${rows.length
      ? html`<${Table} columns=${COLUMNS} rows=${rows.sort((a, b) => b.newest.created.localeCompare(a.newest.created))} id=${(row) => `${row.project}/${row.name}`} caption="Models" />`
      : html`<${Empty} title=${wanted ? `No model has “${wanted}” in its name` : "No model is registered yet"}><p>A spec with <code>register: name</code> registers what its job makes: a train job its model, an export job the same with its encoder.</p>
          <p><a class="button" href="/submit">Submit a job</a></p><//>`}`;
}
