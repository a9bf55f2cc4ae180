// Rows in, posteriors with their evidence out: a request to /v1/encode, made by hand.
import { api, useAction } from "../api.js";
import { html, useMemo, useState } from "../dom.js";
import { Copyable } from "../components/copy.js";
import { Failure } from "../components/failure.js";
import { measured } from "../components/number.js";
import { Posterior } from "../charts/posterior.js";

const FEW = 3;

/** `target`: where rows are sent; `preview`, `quality`, `config`: what the bundle's files of these names hold, once known. */
export function TryOut({ target, params, preview, quality, config }) {
  const counts = config?.train?.model.likelihood.kind === "multinomial";
  const sample = useMemo(() => (preview && config ? rowsOf(preview, counts).slice(0, FEW) : null), [preview, config]);
  const [text, setText] = useState("");
  const [iterations, setIterations] = useState("");
  const written = useMemo(() => read(text), [text]);
  const [encode, state] = useAction(async () => {
    setFound(await api.post(api.url(target, params), { body: { rows: written.rows, ...(iterations === "" ? {} : { iterations: Number(iterations) }) } }));
  });
  const [found, setFound] = useState(null);
  const command = `curl -X POST '${location.origin}${api.url(target, params)}' \\\n  -H "Authorization: Bearer $CLOSEGAP_TOKEN" -H "Content-Type: application/json" \\\n  -d '{"rows": [[…]]${iterations === "" ? "" : `, "iterations": ${iterations}`}}'`;
  return html`<div class="tryout"><form onSubmit=${(event) => { event.preventDefault(); encode(); }}>
      <label class="tryout-rows"><span>Rows, as JSON: <span class="muted">[[x₁, x₂, …], …]</span></span>
        <textarea rows="6" spellcheck="false" value=${text} onInput=${(event) => setText(event.currentTarget.value)} placeholder="[[0, 0.5, 1, …]]" aria-invalid=${Boolean(text && written.problem)} /></label>
      ${text && written.problem && html`<p class="tryout-wrong" role="alert">${written.problem}</p>`}
      <div class="tryout-do">${sample && html`<button type="button" class="button" onClick=${() => setText(JSON.stringify(sample))}>Take ${sample.length} validation rows</button>`}
        ${quality?.points.length === 1 ? null : html`<label>Iterations <input type="number" min="0" max="1000" value=${iterations} placeholder="as exported" onInput=${(event) => setIterations(event.currentTarget.value)} /></label>`}
        <button class="button primary" disabled=${state.busy || !written.rows}>${state.busy ? "…" : `Encode${written.rows ? ` ${written.rows.length} ${written.rows.length === 1 ? "row" : "rows"}` : ""}`}</button></div>
      <${Copyable} text=${command} what="command" label="The same by curl" /></form>
    ${state.problem && html`<${Failure} problem=${state.problem} />`}
    ${found && html`<${Posteriors} found=${found} validation=${quality?.validation} />`}</div>`;
}

function Posteriors({ found, validation }) {
  return html`<div class="posteriors" aria-live="polite"><p class="muted">q(z | x) = N(mean, exp(log-variance)) after ${found.iterations} ${found.iterations === 1 ? "iteration" : "iterations"}: dots are means, lines ± one standard deviation, of each dimension of z.</p>
    ${found.elbo.map((elbo, row) => html`<div key=${row} class="posterior"><div class="posterior-head"><strong>row ${row}</strong><span class="number">ELBO ${measured(elbo, 5)} nats</span>
        ${validation && html`<span class="muted">${placeOf(elbo, validation.elbo)}</span>`}</div>
      <${Posterior} mean=${found.mean[row]} deviation=${found.log_var[row].map((value) => Math.exp(value / 2))} label=${`Posterior of row ${row}`} /></div>`)}</div>`;
}

/** Where an ELBO lies among those of validation rows, in words. */
function placeOf(elbo, sorted) {
  const below = sorted.filter((value) => value < elbo).length / sorted.length;
  if (below === 0) return "lower than any validation row: this row is unlike the data";
  return `higher than ${measured(100 * below, 3)} % of the validation rows`;
}

/** The rows of a preview, which has a byte a value; `counts`: of words, which an encoder takes whole only. */
export function rowsOf(preview, counts) {
  const value = (level) => preview.low + (level / 255) * (preview.high - preview.low);
  const levels = Uint8Array.from(atob(preview.originals), (one) => one.charCodeAt(0));
  const width = levels.length / preview.rows;
  return Array.from({ length: preview.rows }, (_, row) => Array.from(levels.subarray(row * width, (row + 1) * width), (level) => (counts ? Math.round(value(level)) : Number(value(level).toPrecision(4)))));
}

/** {rows} or {problem}. */
function read(text) {
  if (!text.trim()) return {};
  let rows;
  try {
    rows = JSON.parse(text);
  } catch (error) {
    return { problem: `This is no JSON: ${error.message}` };
  }
  if (!Array.isArray(rows) || !rows.length) return { problem: "A list of rows is expected: [[…], …]" };
  if (typeof rows[0] === "number") rows = [rows];
  const wrong = rows.findIndex((row) => !Array.isArray(row) || row.length !== rows[0].length || !row.every(Number.isFinite));
  return wrong < 0 ? { rows } : { problem: `Row ${wrong} is no list of ${Array.isArray(rows[0]) ? rows[0].length : ""} numbers` };
}
