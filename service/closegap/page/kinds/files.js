// The sealed bundles that a job left: digest, files, and each to be had.
import { html } from "../dom.js";
import { useGet } from "../api.js";
import { Copy } from "../components/copy.js";
import { Pending } from "../components/failure.js";
import { bytes } from "../components/number.js";
import { Table } from "../components/table.js";

export const short = (digest) => digest.replace("sha256:", "").slice(0, 12);

export function Files({ job }) {
  const got = useGet(Object.keys(job.outputs ?? {}).length ? `/v1/jobs/${job.id}/artifacts` : null);
  if (!Object.keys(job.outputs ?? {}).length) return null;
  if (!got.data) return html`<${Pending} got=${got} />`;
  return html`<section class="work"><h2>Left behind</h2>${got.data.artifacts.map((artifact) => html`<${Bundle} key=${artifact.output} artifact=${artifact} />`)}</section>`;
}

const COLUMNS = [
  { key: "name", head: "File", cell: (file) => html`<a href=${file.href.split("/").map(encodeURIComponent).join("/")} download>${file.name}</a>` },
  { key: "bytes", head: "Size", class: "right number", cell: (file) => bytes(file.bytes) },
  { key: "sha256", head: "sha256", cell: (file) => html`<code class="digest" title=${file.sha256}>${file.sha256.slice(0, 16)}…</code><${Copy} text=${file.sha256} what="sha256" />` },
];

/** A bundle's files with their digests. */
export function Bundle({ artifact }) {
  return html`<div class="bundle"><p><strong>${artifact.output}</strong> <span class="muted">bundle of kind ${artifact.kind}</span> <code class="digest">${artifact.digest}</code> <${Copy} text=${artifact.digest} what="digest" /></p>
    <${Table} columns=${COLUMNS} rows=${artifact.files} id=${(file) => file.name} caption=${`Files of ${artifact.output}`} dense /></div>`;
}
