// A sealed bundle: its digest, its files, and each to be had.
import { api } from "../api.js";
import { html } from "../dom.js";
import { Copy } from "../components/copy.js";
import { bytes } from "../components/number.js";
import { Table } from "../components/table.js";

/** `params`: of the files' addresses, such as the project of a model. */
export function Bundle({ artifact, params = {} }) {
  const address = (file) => api.url(file.href.split("/").map(encodeURIComponent).join("/"), params);
  const columns = [
    { key: "name", head: "File", cell: (file) => html`<a href=${address(file)} download=${file.name.split("/").at(-1)}>${file.name}</a>` },
    { key: "bytes", head: "Size", class: "right number", cell: (file) => bytes(file.bytes) },
    { key: "sha256", head: "sha256", class: "not-narrow", cell: (file) => html`<code class="digest" title=${file.sha256}>${file.sha256.slice(0, 16)}…</code><${Copy} text=${file.sha256} what="sha256" />` },
  ];
  return html`<p class="muted">Kind ${artifact.kind}, <code class="digest">${artifact.digest}</code> <${Copy} text=${artifact.digest} what="digest" /></p>
    <${Table} columns=${columns} rows=${artifact.files} id=${(file) => file.name} caption="Files of the bundle" dense />`;
}
