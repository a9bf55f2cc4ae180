// Train: ELBO = log-likelihood − KL, what iterations gain, what is reconstructed, which units are used.
import { html } from "../dom.js";
import { Pending, Stale } from "../components/failure.js";
import { measured, whole } from "../components/number.js";
import { span } from "../components/time.js";
import { Columns } from "../charts/bars.js";
import { Images, stripsOf } from "../charts/images.js";
import { Lines } from "../charts/line.js";
import { Grid, Nothing, Section, Tiles } from "./parts.js";
import { useFollowed, useSeries } from "./series.js";

const EPOCH = { name: "epoch", whole: true };

export function Train({ job, live }) {
  const series = useSeries(job, live);
  const epochs = series.of("valid.elbo");
  const turn = job.finished ? "over" : (epochs.at(-1)?.[0] ?? 0);
  const iterations = useFollowed(`/v1/jobs/${job.id}/iterations`, turn, { params: { most: 24 } });
  const preview = useFollowed(`/v1/jobs/${job.id}/preview`, turn);
  if (!series.got.data) return html`<${Pending} got=${series.got} />`;
  if (!epochs.length) return html`<${Nothing} job=${job} />`;
  return html`<div class="work-view"><${Stale} got=${series.got} />
    <${Figures} job=${job} series=${series} epochs=${epochs} />
    <${Section} title="ELBO = log-likelihood − KL" lead="Nats a row, higher is better. Validation is of fixed weights after each epoch, training of the last iterate while learning: where the two part, rows are learned by heart.">
      <${Terms} job=${job} series=${series} /><//>
    <${Section} title="Inference"><${Inference} iterations=${iterations} preview=${preview} /><//>
    <${Section} title="Latent dimensions"><${Dimensions} job=${job} series=${series} preview=${preview.data?.preview} /><//>
    <${Section} title="Learning"><${Learning} job=${job} series=${series} /><//></div>`;
}

function Figures({ job, series, epochs }) {
  const best = epochs.reduce((a, b) => ((b[1] ?? -Infinity) > (a[1] ?? -Infinity) ? b : a));
  const [train, valid] = [series.last("train.elbo"), series.last("valid.elbo")];
  const total = series.last("epochs");
  const rates = ratesOf(job, series);
  return html`<${Tiles} items=${[
    ["Epoch", whole(epochs.at(-1)[0]), total ? `of ${whole(total)}` : ""],
    ["Validation ELBO", measured(valid, 5), "nats"],
    ["Best", measured(best[1], 5), `epoch ${best[0]}`],
    ["Training − validation", measured(train - valid, 3), "nats"],
    ["KL", measured(series.last("valid.kl"), 4), "nats"],
    ["Active units", whole(series.last("valid.active_units")), latents(job) ? `of ${latents(job)}` : ""],
    ["Speed", rates.length ? whole(rates.at(-1)[1]) : "–", "rows/s"],
    ["Epoch takes", span(series.last("seconds"))],
  ]} />`;
}

const latents = (job) => (job.spec.model?.levels ?? []).reduce((sum, level) => sum + (level.latent ?? 0), 0);
const pair = (series, term) => [
  { name: "validation", short: "valid", points: series.of(`valid.${term}`), number: 0 },
  { name: "training", short: "train", points: series.of(`train.${term}`), number: 1, dash: [5, 4] },
];

function Terms({ job, series }) {
  const best = series.of("valid.elbo").reduce((a, b) => ((b[1] ?? -Infinity) > (a[1] ?? -Infinity) ? b : a));
  const marks = [{ x: best[0], name: "best" }];
  const weight = series.of("kl_weight");
  const warming = Boolean(job.spec.training?.kl_warmup) && weight.length > 0;
  const iwae = series.of("valid.iwae");
  const bounds = [...pair(series, "elbo"), ...(iwae.length ? [{ name: "IWAE bound", points: iwae, number: 2 }] : [])];
  return html`<${Grid} three>
    <${Lines} title="ELBO" unit="nats" curves=${bounds} x=${{ ...EPOCH, sync: job.id }} marks=${marks} />
    <${Lines} title="Log-likelihood" unit="nats" curves=${pair(series, "log_likelihood")} x=${{ ...EPOCH, sync: job.id }} />
    <${Lines} title="KL" unit="nats" x=${{ ...EPOCH, sync: job.id }} right=${warming ? { name: "weight of KL", range: [0, 1.05] } : null}
      curves=${[...pair(series, "kl"), ...(warming ? [{ name: "weight", points: weight, number: 6, dash: [2, 3], axis: "right" }] : [])]} /><//>`;
}

function Inference({ iterations, preview }) {
  if (!iterations.data) return html`<${Pending} got=${iterations} />`;
  const all = iterations.data.epochs;
  const steps = (all.at(-1)?.elbo.length ?? 1) - 1;
  const chosen = few(all, 4);
  const named = chosen.map((epoch) => `epoch ${epoch.epoch}`);
  return html`<${Grid}><${Reconstructions} got=${preview} tall=${steps > 1} />
    ${steps > 1 && html`<${Lines} title="ELBO over iterations" unit="nats, validation" x=${{ name: "iteration", whole: true }} settle=${{ skip: 1, of: named.slice(-2) }}
      curves=${chosen.map((epoch, i) => ({ name: named[i], points: points(epoch.elbo), number: [5, 3, 4, 0][i + 4 - chosen.length], width: i === chosen.length - 1 ? 2.4 : 1.4 }))}
      note="0 is where inference starts. A curve that still rises at its end would gain by more iterations." />
    <${Lines} title="What further iterations gain" unit="nats over one iteration, validation" x=${EPOCH}
      curves=${stages(steps).map((t, i) => ({ name: `t = ${t}`, points: all.map((epoch) => [epoch.epoch, gain(epoch.elbo, t)]), number: [4, 2, 0][i] }))}
      note="ELBO after t iterations less the ELBO after one, as it changes from epoch to epoch." />`}<//>`;
}

const gain = (elbo, t) => (Number.isFinite(elbo[t]) && Number.isFinite(elbo[1]) ? elbo[t] - elbo[1] : null);
const points = (values) => values.map((value, t) => [t, value]);
const stages = (last) => [...new Set([2, Math.ceil(last / 2), last])].filter((t) => t > 1 && t <= last);

/** At most `most` of a list: the first, the last, and those between evenly. */
function few(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, i) => list[Math.round((i * (list.length - 1)) / (most - 1))]);
}

/** The pictures of a preview, or what there is in their place. */
export function Reconstructions({ got, tall = false, title = "Reconstructions over iterations" }) {
  if (!got.data) return html`<${Pending} got=${got} />`;
  const found = got.data.preview;
  if (!found) return html`<figure class="chart-figure"><figcaption><h3>${title}</h3></figcaption><p class="chart-none">They come with the first checkpoint.</p></figure>`;
  return html`<${Images} title=${title} shape=${found.shape} rows=${found.rows} lines=${stripsOf(found)} wide=${found.rows * found.shape[1] > 320} tall=${tall}
    note=${`Held-out rows${found.epoch ? `, after epoch ${found.epoch}` : ""}: x, and the mean of p(x | z) at the mean of q${found.elbo ? "; beside it the mean ELBO of these rows" : ""}.`} />`;
}

function Dimensions({ job, series, preview }) {
  const units = series.of("valid.active_units");
  return html`<${Grid}>
    ${units.length ? html`<${Lines} title="Active units" unit="dimensions" x=${EPOCH} whole range=${[0, 1.06 * Math.max(latents(job), ...units.map((unit) => unit[1]), 1)]} curves=${[{ name: "active", points: units, number: 2 }]} height=${190}
      note="Dimensions whose posterior mean varies over rows by more than 0.01 (Burda et al. 2016)." />` : null}
    ${preview?.kl_by_dimension ? html`<${KlColumns} kl=${preview.kl_by_dimension} variance=${preview.posterior_variance} active=${preview.active} rows=${preview.measured_rows} />` : null}<//>`;
}

/** KL of each dimension, highest first; pale where it is not active. */
export function KlColumns({ kl, variance, active, rows }) {
  const order = kl.map((_, i) => i).sort((a, b) => (kl[b] ?? 0) - (kl[a] ?? 0));
  const idle = order.map((i) => (variance?.[i] ?? 1) <= active);
  return html`<${Columns} title="KL by dimension" unit="nats" x="dimensions of z, highest first"
    values=${order.map((i) => Math.max(kl[i] ?? 0, 0))} names=${order.map((i) => `z[${i}]`)} pale=${idle}
    note=${`${idle.filter((one) => !one).length} of ${kl.length} are active${idle.some(Boolean) ? "; pale ones are not" : ""}${rows ? `. Over ${rows} validation rows.` : "."}`} />`;
}

function Learning({ job, series }) {
  const [theta, phi] = [series.of("gradient_norm.theta"), series.of("gradient_norm.phi")];
  const norms = [
    { name: "decoder θ", short: "θ", points: theta, number: 0 },
    { name: "inference φ", short: "φ", points: phi, number: 1 },
  ].filter((one) => one.points.length);
  const rates = ratesOf(job, series);
  const learned = series.of("learning_rate");
  const decays = learned.length && learned[0][1] !== learned.at(-1)[1];
  return html`<${Grid} three>
    ${norms.length ? html`<${Lines} title="Norm of the gradient" unit="nats, log" x=${EPOCH} log curves=${norms} height=${190} note="Of each epoch's last step." />` : null}
    ${rates.length ? html`<${Lines} title="Throughput" unit="rows/s" x=${EPOCH} full curves=${[{ name: "training", points: rates, number: 2 }]} height=${190} note="Rows of an epoch by its wall time, validation included." />` : null}
    ${decays ? html`<${Lines} title="Learning rate" x=${EPOCH} full curves=${[{ name: "rate", points: learned, number: 4 }]} height=${190} />` : null}<//>`;
}

/** Rows a second of each epoch; where the spec does not say how many an epoch has, by its steps and the batch. */
function ratesOf(job, series) {
  const [epochs, steps] = series.of("step").at(-1) ?? [];
  const rows = job.spec.data?.split?.train ?? (steps / epochs) * (job.spec.training?.batch_size ?? 64);
  return series.of("seconds").map(([epoch, seconds]) => [epoch, rows / seconds]).filter(([, rate]) => Number.isFinite(rate));
}
