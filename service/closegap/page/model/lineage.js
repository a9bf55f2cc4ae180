// Where a version comes from: data, then each job that made something of what was before.
import { html } from "../dom.js";
import { Pending } from "../components/failure.js";
import { to } from "../router.js";

const MAKES = { train: "trained", sweep: "chosen by a sweep", export: "exported" };

export function Lineage({ got }) {
  if (!got.data) return html`<${Pending} got=${got} />`;
  const steps = [...got.data.steps].reverse();
  const data = steps.find((step) => step.data_digest)?.data_digest;
  return html`<ol class="lineage">${data && html`<li class="lineage-step"><span class="muted">data</span><code class="digest" title=${data}>${data.slice(0, 12)}</code></li>`}
    ${steps.map((step) => html`<li key=${step.digest} class="lineage-step"><span class="muted">${MAKES[step.job_kind] ?? step.kind}</span>
      ${step.job ? html`<a href=${to.job(step.job)}>${step.job_name}</a>` : html`<span class="faint">by a job that is gone, or of another project</span>`}
      <code class="digest" title=${step.digest}>${step.digest.slice(7, 19)}</code></li>`)}</ol>`;
}
