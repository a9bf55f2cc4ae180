// The spec of a job, as YAML or JSON, and how the same is done in a terminal.
import { html, useMemo, useState } from "../dom.js";
import { Copy, Copyable } from "../components/copy.js";
import { readable } from "../readable.js";
import { toYaml } from "../yaml.js";

const quoted = (text) => `'${text.replace(/'/g, "'\\''")}'`;

export function Spec({ job }) {
  const [form, setForm] = useState("yaml");
  const spec = useMemo(() => readable(job.spec), [job.spec]);
  const text = useMemo(() => (form === "yaml" ? toYaml(spec) : JSON.stringify(job.spec, null, 2)), [spec, form]);
  const project = job.project === "default" ? "" : ` --project ${job.project}`;
  const file = `${job.name}.yaml`;
  const submit = `closegap submit ${quoted(file)}${project}`;
  const curl = `curl -X POST ${quoted(`${location.origin}/v1/jobs${job.project === "default" ? "" : `?project=${job.project}`}`)} \\
  -H "Authorization: Bearer $CLOSEGAP_TOKEN" -H 'Content-Type: application/yaml' \\
  --data-binary @${quoted(file)}`;
  return html`<div class="spec">
    <section class="spec-text"><div class="spec-bar">
        <div class="choice" role="group" aria-label="Form">${["yaml", "json"].map(
          (one) => html`<button key=${one} type="button" aria-pressed=${form === one} onClick=${() => setForm(one)}>${one.toUpperCase()}</button>`,
        )}</div><span class="muted">${form === "yaml" ? "normalised; what is absent is left out" : "normalised, every default written out"}</span><span class="spring" />
        <a class="button small" download=${form === "yaml" ? file : `${job.name}.json`} href=${`data:text/plain;charset=utf-8,${encodeURIComponent(text)}`}>Save</a>
        <${Copy} text=${text} what="spec" words="Copy" /></div>
      <pre class="code" tabindex="0" aria-label="Spec"><${Coloured} text=${text} /></pre></section>
    <section class="spec-ways"><h2>The same in a terminal</h2>
      <${Copyable} text=${submit} what="command" label="submit" />
      <${Copyable} text=${`closegap show ${job.id}`} what="command" label="look" />
      <${Copyable} text=${`closegap logs ${job.id} -f`} what="command" label="follow" />
      <${Copyable} text=${`closegap cancel ${job.id}`} what="command" label="cancel" />
      <h2>By HTTP</h2><${Copyable} text=${curl} what="curl command" />
      <h2>Digest</h2><${Copyable} text=${job.digest} what="digest" /><p class="muted">sha256 of the normalised spec; the same digest is the same work.</p>
    </section></div>`;
}

const TOKEN = /("(?:[^"\\]|\\.)*"(?=\s*:)|[A-Za-z_][\w.]*(?=:(?:\s|$)))|("(?:[^"\\]|\\.)*")|(-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|\b(true|false|null)\b/g;
const NAMES = ["", "t-key", "t-string", "t-number", "t-word"];

/** Keys, strings, numbers and words of YAML or JSON in their colours. */
export function Coloured({ text }) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > at) parts.push(text.slice(at, found.index));
    const kind = found.findIndex((group, i) => i > 0 && group !== undefined);
    parts.push(html`<span class=${NAMES[kind]}>${found[0]}</span>`);
    at = found.index + found[0].length;
  }
  return html`${[...parts, text.slice(at)]}`;
}
