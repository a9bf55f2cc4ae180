// What a job has left: numbers, and sealed bundles with their files.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { to } from "../router.js";
import { Copy } from "../components/copy.js";
import { Empty } from "../components/empty.js";
import { Pending } from "../components/failure.js";
import { bytes, measured } from "../components/number.js";
import { Facts } from "../components/table.js";
import { Files } from "../kinds/files.js";

export function Artifacts({ job }) {
  const got = useGet(`/v1/jobs/${job.id}/artifacts`);
  if (!got.data) return html`<${Pending} got=${got} />`;
  const bundles = got.data.artifacts;
  const named = new Set(bundles.map((bundle) => bundle.output));
  const rest = Object.entries(job.outputs).filter(([name]) => !named.has(name));
  const model = job.spec.register;
  if (!bundles.length && !rest.length) {
    return html`<${Empty} title="Nothing is left yet"><p>${job.state === "succeeded" ? "This job had nothing to leave." : "Artefacts appear whole, when the job succeeds."}</p><//>`;
  }
  return html`<div class="artifacts">
    ${rest.length > 0 && html`<section class="card"><h2>Outputs</h2><${Facts} items=${rest.map(([name, value]) => [name, typeof value === "number" ? measured(value, 6) : html`<code>${typeof value === "string" ? value : JSON.stringify(value)}</code>`])} /></section>`}
    ${model && job.state === "succeeded" && html`<p>Registered as <a href=${to.model(model, null, job.project)}>${model}</a>.</p>`}
    ${bundles.map((bundle) => html`<section key=${bundle.output} class="bundle"><header><h2>${bundle.output}</h2><span class="muted">${bundle.kind}, ${bytes(bundle.files.reduce((sum, file) => sum + file.bytes, 0))}</span>
        <span class="spring" /><code class="faint digest" title=${bundle.digest}>${bundle.digest.slice(0, 23)}…</code><${Copy} text=${bundle.digest} what="digest" /></header>
      <${Files} artifact=${bundle} /></section>`)}
  </div>`;
}
