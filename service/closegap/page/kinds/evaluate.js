// Evaluate: the gap report, what iterations gain, the frontier of compute and gap, what the dimensions carry.
import { html } from "../dom.js";
import { useGet } from "../api.js";
import { Facts, Table } from "../components/table.js";
import { Pending } from "../components/failure.js";
import { estimated, measured, whole } from "../components/number.js";
import { Bars } from "../charts/bars.js";
import { Lines } from "../charts/line.js";
import { Grid, Nothing, Section, Sentences, Tiles } from "./parts.js";
import { KlColumns, Reconstructions } from "./train.js";

const GAPS = [["amortization_gap", "amortization", 0], ["approximation_gap", "approximation", 1], ["inference_gap", "inference", 2]];

export function Evaluate({ job }) {
  const there = Boolean(job.outputs?.report);
  const metrics = useGet(there ? `/v1/jobs/${job.id}/artifacts/report/metrics.json` : null);
  const preview = useGet(there ? `/v1/jobs/${job.id}/preview` : null);
  if (!there) return html`<${Nothing} job=${job} />`;
  if (!metrics.data) return html`<${Pending} got=${metrics} />`;
  return html`<div class="work-view"><${Report} found=${metrics.data} preview=${preview} /></div>`;
}

/** The figures of an evaluation's `metrics.json`. */
export function Report({ found, preview }) {
  const said = [...(found.verdict ?? []), ...Object.entries(found.gaps ?? {}).flatMap(([part, gap]) => (gap.verdict ?? []).map((line) => `${part}: ${line}`))];
  return html`<${Headline} found=${found} />
    ${said.length ? html`<${Section} title="Verdict"><${Sentences} items=${said} /><//>` : null}
    ${found.gaps && html`<${Section} title="Gaps" lead="log p(x) − L[q] is the inference gap: what the family of q cannot fit (approximation) and what the encoder leaves of that (amortization). ± is over rows and of the estimate together.">
      <${Gaps} gaps=${found.gaps} /><//>`}
    <${Section} title="Inference"><${Inference} found=${found} preview=${preview} /><//>
    ${found.frontier && html`<${Section} title="Frontier" lead=${`How much of the amortization gap is left on ${found.frontier.rows} rows after so many decoder passes, or CPU seconds, a row. Lower and further left is better.`}>
      <${Frontier} frontier=${found.frontier} /><//>`}
    <${Section} title="Latent dimensions"><${Dimensions} found=${found} /><//>
    <${Section} title="What was measured"><${Identity} found=${found} /><//>`;
}

const within = (figure, digits = 5) => measured(figure.value, digits);
const error = (value) => `± ${measured(value, 2)}`;

function Headline({ found }) {
  const refined = found.refinement;
  return html`<${Tiles} items=${[
    ["ELBO", measured(found.elbo, 5), `${error(found.elbo_standard_error)} nats`],
    [`IWAE bound, ${found.iwae.samples} samples`, within(found.iwae), `${error(found.iwae.standard_error)} nats`],
    ["Log-likelihood", measured(found.log_likelihood, 5)], ["KL", measured(found.kl, 4)],
    ...["bits_per_dimension", "perplexity"].filter((name) => found[name]).map((name) => [name.replaceAll("_", " "), within(found[name].iwae, 4), error(found[name].iwae.standard_error)]),
    ["Amortization gap, by refinement", refined ? measured(refined.amortization_gap, 3) : "–", "nats at least"],
    ["Active units", found.active_units ? whole(found.active_units.count) : "–", found.active_units ? `of ${found.active_units.variance.length}` : ""],
    ["Rows", whole(found.rows), found.part],
  ]} />`;
}

const BOUNDS = [["elbo", "L[q]"], ["optimal_elbo", "L[q*]"], ["optimal_flow_elbo", "L[q*], flow"], ["log_evidence", "log p(x)"]];
const errorOf = (figure) => Math.hypot(figure.standard_error ?? 0, figure.estimator_error ?? 0);

/** Gap bars of each part with their errors, and the bounds that they are between. */
export function Gaps({ gaps }) {
  const parts = Object.entries(gaps);
  const groups = parts.map(([part, gap]) => ({
    name: `${part}, ${gap.rows} rows`,
    bars: GAPS.map(([key, name, number]) => ({ name, number, value: gap[key].value, error: errorOf(gap[key]) })),
  }));
  const columns = [
    { key: "name", head: "nats", cell: ([, name]) => name },
    ...parts.map(([part, gap]) => ({ key: part, head: part, class: "right number", cell: ([key]) => (gap[key] ? estimated(gap[key].value, errorOf(gap[key])) : "–") })),
  ];
  return html`<${Grid}><${Bars} title="Gaps" unit="nats" groups=${groups} x="nats" />
    <div class="gap-bounds"><${Table} columns=${columns} rows=${BOUNDS.filter(([key]) => parts.some(([, gap]) => gap[key]))} id=${([key]) => key} caption="Bounds" dense />
      <p class="chart-note">L[q] is the encoder’s, L[q*] that of each row’s best q. log p(x) is ${[...new Set(parts.map(([, gap]) => gap.log_evidence.estimator))].map((name) => ({ iwae: "the IWAE bound", ais: "by annealed importance sampling" })[name] ?? name).join(", ")}.</p></div><//>`;
}

function Inference({ found, preview }) {
  const curve = found.elbo_by_iteration;
  const gradient = found.gradient_by_iteration;
  const refined = found.refinement;
  return html`<${Grid}>
    <${Lines} title="ELBO over iterations" unit=${`nats, ${found.part}`} x=${{ name: "iteration", whole: true }} settle=${{ skip: 1 }}
      curves=${[{ name: "ELBO", points: curve.map((point) => [point.iteration, point.elbo]), number: 0 }]} marks=${found.iterations < curve.length - 1 ? [{ x: found.iterations, name: "as trained" }] : []}
      note=${`Standard error of a point about ${measured(curve.at(-1).standard_error, 2)} nats. Figures are reported after ${found.iterations} ${found.iterations === 1 ? "iteration" : "iterations"}.`} />
    ${refined && html`<${Lines} title="Refining each row’s own q" unit="nats" x=${{ name: "step", whole: true }} settle=${{ skip: 0, of: ["from the encoder"] }}
      curves=${[["from_encoder", "from the encoder", "encoder", 0], ["from_prior", "from the prior", "prior", 1]].map(([key, name, short, number]) => ({ name, short, number, points: refined[key].map((point) => [point.step, point.elbo]) }))}
      note=${`Best found ${measured(refined.best, 5)} nats: its distance from the encoder’s ELBO is an amortization gap of at least ${measured(refined.amortization_gap, 3)} nats.`} />`}
    ${gradient && html`<${Lines} title="Gradient at q" unit="mean |∂L/∂·|, log" x=${{ name: "iteration", whole: true }} log
      curves=${[["mean", "of the mean", "mean", 0], ["log_var", "of the log-variance", "log-var", 1]].map(([key, name, short, number]) => ({ name, short, number, points: gradient.map((point) => [point.iteration, point[key]]) }))}
      note="Near zero is near a best q; inference that converges comes down." />`}
    <${Reconstructions} got=${preview} /><//>`;
}

const nameOf = (line) => (line.refiner === null ? "the model’s iterations" : `${line.refiner.kind} from ${{ prior: "the prior", model: "the model" }[line.start] ?? `iteration ${line.start}`}`);

const PLACES = [["passes", "Gap left by decoder passes", { name: "decoder passes a row", whole: true }, 1], ["seconds", "Gap left by time", { name: "CPU µs a row" }, 1e6]];

/** A line a way of refining, thick for the model's own; one that diverges leaves the frame. */
export function Frontier({ frontier }) {
  const all = frontier.lines.flatMap((line) => line.points.map((point) => point.gap));
  const begun = Math.max(...frontier.lines.map((line) => line.points[0]?.gap ?? 0));
  const log = all.every((gap) => gap > 0);
  const range = log ? [10 ** Math.floor(Math.log10(Math.min(...all))), Math.min(Math.max(...all), begun) * 1.3] : null;
  const curves = (over, scale) => frontier.lines.map((line, i) => ({
    name: nameOf(line), number: i, dash: line.refiner && line.start === "prior" ? [5, 4] : undefined, width: line.refiner ? 1.5 : 2.6,
    points: line.points.map((point) => [point[over] * scale, point.gap]).sort((a, b) => a[0] - b[0]),
  }));
  return html`<${Grid}>${PLACES.map(([over, title, x, scale]) => html`<${Lines} key=${over} title=${title} unit=${log ? "nats, log" : "nats"} log=${log} range=${range} x=${x} curves=${curves(over, scale)} height=${270} />`)}<//>`;
}

function Dimensions({ found }) {
  const units = found.active_units;
  if (!units) return html`<p class="chart-none">Not measured.</p>`;
  if (!found.kl_by_dimension) return html`<p>${units.count} of ${units.variance.length} dimensions are active. The KL of this q does not come by dimension.</p>`;
  return html`<${Grid}><${KlColumns} kl=${found.kl_by_dimension} variance=${units.variance} active=${units.threshold} />
    ${found.kl_by_level?.length > 1 ? html`<${Bars} title="KL by level" unit="nats" groups=${[{ name: "", bars: found.kl_by_level.map((level, i) => ({ name: `level ${level.level} (${level.active_units} of ${level.latent} active)`, value: level.kl, error: level.standard_error, number: i })) }]} />` : null}<//>`;
}

const DRAWS = { none: "as they are", binarise: "x ~ Bernoulli(row)", dequantise: "dequantised", dequantise_legacy: "dequantised, as published code does" };

function Identity({ found }) {
  const of = found.identity ?? {};
  return html`<${Facts} wide items=${[
    ["Method", found.method], ["Rows", `${whole(found.rows)} of ${found.part}`], ["Samples of an ELBO", found.samples],
    ["Likelihood", of.likelihood?.kind ?? of.likelihood], ["Drawn", DRAWS[of.draw] ?? of.draw], ["Seed", of.seed], ["Data", html`<code class="digest">${found.data_digest}</code>`],
  ].map(([name, value]) => [name, typeof value === "object" && value !== null && !value.props ? JSON.stringify(value) : value])} />`;
}

