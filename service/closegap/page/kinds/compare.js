// Compare: published figures beside measured ones, the picture, and the whole page as a file.
import { html, useEffect, useState } from "../dom.js";
import { api, useGet } from "../api.js";
import { Failure, Pending } from "../components/failure.js";
import { estimated } from "../components/number.js";
import { Table } from "../components/table.js";
import { Nothing, Section } from "./parts.js";

export function Compare({ job }) {
  const there = Boolean(job.outputs?.comparison);
  const base = `/v1/jobs/${job.id}/artifacts/comparison`;
  const table = useGet(there ? `${base}/table.json` : null);
  if (!there) return html`<${Nothing} job=${job} />`;
  if (!table.data) return html`<${Pending} got=${table} />`;
  return html`<div class="work-view"><${Section} title=${table.data.title ?? "Side by side"}><${Sides} table=${table.data} /><//>
    <${Section} title="Picture"><${Picture} path=${`${base}/figure.png`} alt=${table.data.title ?? "The comparison"} />
      <p><a class="button" href=${`${base}/report.html`} download>Download the report, one HTML file</a></p><//></div>`;
}

/** A line a model, and of each quantity what was published and what was measured. */
function Sides({ table }) {
  const quantities = [...new Set(table.lines.map((line) => line.quantity))];
  const published = (quantity) => table.lines.some((line) => line.quantity === quantity && line.published !== null);
  const differs = (quantity) => table.lines.some((line) => line.quantity === quantity && line.difference !== null);
  const models = [...new Map(table.lines.map((line) => [`${line.group}\n${line.label}`, line])).values()];
  const of = (model, quantity) => table.lines.find((line) => line.group === model.group && line.label === model.label && line.quantity === quantity);
  const columns = [
    { key: "label", head: "", cell: (model) => html`${model.group && html`<span class="muted">${model.group} · </span>`}<strong>${model.label}</strong>` },
    ...quantities.flatMap((quantity) => [
      ...(published(quantity) ? [{ key: `${quantity} published`, head: `${nameOf(quantity)}, published`, class: "right number", cell: (model) => figure(of(model, quantity), "published") }] : []),
      { key: quantity, head: `${nameOf(quantity)}${published(quantity) ? ", measured" : ""}`, class: "right number", cell: (model) => html`<span class=${of(model, quantity)?.best ? "best-figure" : ""}>${figure(of(model, quantity), "measured")}</span>` },
      ...(differs(quantity) ? [{ key: `${quantity} difference`, head: "difference", class: "right number muted", cell: (model) => figure(of(model, quantity), "difference", true) }] : []),
    ]),
  ];
  return html`<${Table} columns=${columns} rows=${models} id=${(model) => `${model.group}/${model.label}`} caption="Published and measured" />
    <ul class="sentences">${[table.scale && `Scale: ${table.scale}.`, ...table.data, table.published_in && `Published in ${table.published_in}.`, ...table.notes,
      "Differences are to the first model, paired by rows; the best of each quantity is bold."].filter(Boolean).map((line, i) => html`<li key=${i}>${line}</li>`)}</ul>`;
}

const NAMES = { elbo: "ELBO (nats)", iwae: "IWAE bound (nats)", kl: "KL (nats)", bits_per_dimension: "bits/dim", perplexity: "perplexity" };
const nameOf = (quantity) => NAMES[quantity] ?? quantity.replaceAll("_", " ");
const ERRORS = { measured: "standard_error", published: "published_error", difference: "difference_error" };

function figure(line, name, signed = false) {
  const value = line?.[name];
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value; // words, where no figure was published
  return `${signed && value > 0 ? "+" : ""}${estimated(value, line[ERRORS[name]], signed ? 3 : 5)}`;
}

/** A picture of a bundle: artefacts are sent to be saved, so its bytes are asked for and shown from here. */
function Picture({ path, alt }) {
  const [state, setState] = useState({ source: null, problem: null });
  useEffect(() => {
    const stop = new AbortController();
    let source = null;
    api.bytes(path, { signal: stop.signal }).then(
      (bytes) => {
        source = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
        setState({ source, problem: null });
      },
      (problem) => problem.name !== "AbortError" && setState({ source: null, problem }),
    );
    return () => {
      stop.abort();
      if (source) URL.revokeObjectURL(source);
    };
  }, [path]);
  if (state.problem) return html`<${Failure} problem=${state.problem} />`;
  return state.source ? html`<img class="comparison" src=${state.source} alt=${alt} />` : html`<p class="muted">Loading the picture</p>`;
}
