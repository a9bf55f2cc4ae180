// Encode: rows and shards as they are written, whether the file can be trusted, and how unlike the data rows are.
import { html } from "../dom.js";
import { useGet } from "../api.js";
import { Pending, Stale } from "../components/failure.js";
import { measured, whole } from "../components/number.js";
import { Progress } from "../components/progress.js";
import { Histogram } from "../charts/histogram.js";
import { Shards } from "../charts/shards.js";
import { Nothing, Section, Tiles, Verdict } from "./parts.js";
import { useModel } from "./source.js";
import { useHeard } from "./series.js";

export function Encode({ job, live }) {
  const got = useGet(`/v1/jobs/${job.id}/shards`, { every: job.finished ? 0 : 2 });
  const ended = useHeard(live, "encoding").at(-1);
  const metrics = useGet(job.outputs?.encoding ? `/v1/jobs/${job.id}/artifacts/encoding/metrics.json` : null);
  const series = useGet(job.finished ? `/v1/jobs/${job.id}/metrics` : null, { params: { name: ["rows_per_second", "rows_per_cpu_second"] } });
  const model = useModel(job);
  if (!got.data) return html`<${Pending} got=${got} />`;
  const shards = got.data.shards;
  if (!shards) return html`<${Nothing} job=${job} />`;
  const summary = metrics.data ?? ended;
  const rate = ended?.rows_per_second ?? series.data?.series.find((one) => one.name === "rows_per_second")?.points.at(-1)?.[1] ?? job.progress?.rate;
  return html`<div class="work-view"><${Stale} got=${got} />
    <${Tiles} items=${[
      ["Rows", whole(shards.rows_done), `of ${whole(shards.rows)}`], ["Speed", rate ? whole(rate) : "–", "rows/s"],
      ["Shards", whole(shards.done.length), `of ${whole(shards.shards)}`], ["Parity", model.parity ? html`<${Verdict} good />` : "–", model.parity ? `${whole(model.parity.rows)} rows` : ""],
      ["ELBO", summary ? measured(summary.elbo, 5) : "–", summary ? `± ${measured(summary.elbo_standard_error, 2)} nats` : ""], ["Iterations", summary?.iterations ?? null],
      ["Unlike the data", summary?.validation ? `${measured(100 * summary.validation.below, 3)} %` : "–", "of rows"],
    ]} />
    ${job.progress && !job.finished && html`<${Progress} progress=${job.progress} />`}
    <${Section} title="Shards" lead="Each appears by one rename, and is then named in the ledger: an encoding that was interrupted goes on with the first that is not."><${Shards} shards=${shards} running=${job.state === "running"} /><//>
    <${Section} title="ELBO of each row">${summary ? html`<${Spread} summary=${summary} />` : html`<p class="chart-none">Drawn once all rows are encoded.</p>`}<//></div>`;
}

/** Encoded rows beside validation rows, in the same bins. */
function Spread({ summary }) {
  const { edges, counts } = summary.elbo_histogram;
  const beside = summary.validation;
  const sets = [{ name: "encoded", counts, number: 0 }, ...(beside ? [{ name: "validation", counts: beside.counts, number: 1 }] : [])];
  const note = beside
    ? `${measured(100 * beside.below, 3)} % of the encoded rows are below ${measured(beside.low_elbo, 4)} nats, as ${100 * beside.low_quantile} % of the validation rows are: many more than that are rows unlike those the model was trained on.${beside.iterations === summary.iterations ? "" : ` Validation rows had ${beside.iterations} iterations, these ${summary.iterations}.`}`
    : "The bundle of the model has no ELBOs of validation rows to set beside these: it was exported before they were kept.";
  const quantiles = summary.elbo_quantiles;
  return html`<${Histogram} title="ELBO of the encoded rows" unit="nats" edges=${edges} sets=${sets} marks=${beside ? [{ x: beside.low_elbo, name: `lowest ${100 * beside.low_quantile} % of validation` }] : []} x="ELBO (nats)" note=${note} wide />
    <dl class="facts">${Object.entries(quantiles).map(([share, value]) => html`<div key=${share}><dt>${{ 0: "lowest", 50: "median", 100: "highest" }[share] ?? `${share} %`}</dt><dd class="number">${measured(value, 5)}</dd></div>`)}</dl>`;
}
