// A sealed bundle: its digest, its files, and each to be had.
import { api } from "../api.js";
import { html } from "../dom.js";
import { Copy } from "../components/copy.js";
import { Icon } from "../components/icon.js";
import { bytes } from "../components/number.js";
import { Table } from "../components/table.js";

/** `params`: of the files' addresses, such as the project of a model. */
export function Files({ artifact, params = {} }) {
  const had = (file) => ({
    href: api.url(file.href.split("/").map(encodeURIComponent).join("/"), params),
    download: file.name.split("/").at(-1),
  });
  const columns = [
    { key: "name", head: "File", cell: (file) => html`<a ...${had(file)}><${Icon} name="file" size=${14} /> ${file.name}</a>` },
    { key: "bytes", head: "Size", class: "right nowrap number", cell: (file) => bytes(file.bytes) },
    { key: "sha256", head: "sha256", class: "not-narrow", cell: (file) => html`<code class="faint" title=${file.sha256}>${file.sha256.slice(0, 16)}…</code><${Copy} text=${file.sha256} what="sha256" />` },
    { key: "get", head: html`<span class="off-screen">Download</span>`, class: "right", cell: (file) => html`<a class="icon-button" ...${had(file)} aria-label=${`Download ${file.name}`} title="Download"><${Icon} name="download" /></a>` },
  ];
  return html`<${Table} columns=${columns} rows=${artifact.files} id=${(file) => file.name} caption=${`Files of ${artifact.output}`} dense />`;
}
