// One version of a registered model. (The raw facts; a view of its own replaces this.)
import { useGet } from "./api.js";
import { html } from "./dom.js";
import { Pending } from "./components/failure.js";

export function Model({ name, version, query }) {
  const params = query.get("project") ? { project: query.get("project") } : {};
  const got = useGet(`/v1/models/${encodeURIComponent(name)}${version ? `/versions/${version}` : ""}`, { params });
  return html`<h1>${name}${version ? ` / ${version}` : ""}</h1>
    ${got.data ? html`<pre class="code">${JSON.stringify(got.data, null, 2)}</pre>` : html`<${Pending} got=${got} />`}`;
}
