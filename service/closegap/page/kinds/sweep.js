// Sweep: trials as they go, the best so far, how each learns, and which parameters matter.
import { html, useEffect, useMemo, useState } from "../dom.js";
import { useGet } from "../api.js";
import { Copy } from "../components/copy.js";
import { Pending, Stale } from "../components/failure.js";
import { measured, whole } from "../components/number.js";
import { Spaghetti } from "../charts/spaghetti.js";
import { Parallel } from "../charts/parallel.js";
import { Nothing, Section, Tiles, saidOf } from "./parts.js";
import { useHeard } from "./series.js";
import { Trials } from "./trials.js";

const GOES = new Set(["waiting", "running"]);

export function Sweep({ job, live }) {
  const got = useGet(`/v1/jobs/${job.id}/trials`, { every: job.finished ? 0 : 10 });
  const heard = useHeard(live, "trial");
  const curves = useGet(`/v1/jobs/${job.id}/curves`, { params: { points: 60 }, every: job.finished ? 0 : 10 });
  const [at, setAt] = useState(null);
  const trials = useMemo(() => merged(got.data?.trials ?? [], heard), [got.data, heard]);
  if (!got.data) return html`<${Pending} got=${got} />`;
  if (!trials.length) return html`<${Nothing} job=${job} />`;
  const best = bestOf(got.data.best ? [...trials, got.data.best] : trials);
  const count = (state) => trials.filter((trial) => trial.state === state).length;
  return html`<div class="work-view"><${Stale} got=${got} />
    <${Tiles} items=${[
      ["Trials", whole(Math.max(trials.length, got.data.count ?? 0))], ["Running", count("running") ? whole(count("running")) : null], ["Completed", whole(count("completed"))],
      ["Stopped early", count("stopped") ? whole(count("stopped")) : null], ["Failed", count("failed") ? whole(count("failed")) : null],
      ["Best so far", best ? measured(best.value, 5) : "–", best ? "nats" : ""],
    ]} />
    ${got.data.next_cursor && html`<p class="muted">The first ${whole(got.data.trials.length)} of ${whole(got.data.count)} trials are drawn; the bundle has all of them.</p>`}
    ${best && html`<${Best} job=${job} trial=${best} />`}
    <${Section} title="Learning curves" lead="Validation ELBO of every trial by epoch; the best is drawn thick. Point at one to find it below.">
      <${Curves} curves=${curves} heard=${heard} best=${best?.id} at=${at} setAt=${setAt} /><//>
    <${Section} title="Parameters"><${Axes} trials=${trials} at=${at} choose=${setAt} /><//>
    <${Section} title="Trials"><${Trials} trials=${trials} best=${best?.id} at=${at} setAt=${setAt} /><//></div>`;
}

/** What was asked for, with what was heard since; a trial that is over by its record stays so. */
function merged(trials, heard) {
  const known = new Map(trials.map((trial) => [trial.id, trial]));
  for (const trial of heard) {
    const old = known.get(trial.id);
    if (!old || (GOES.has(old.state) && trial.epoch >= old.epoch)) known.set(trial.id, { ...trial });
  }
  return [...known.values()].sort((a, b) => a.id - b.id);
}

const bestOf = (trials) =>
  trials.filter((one) => one.state === "completed" && Number.isFinite(one.value)).reduce((a, b) => (a === null || b.value > a.value ? b : a), null) ??
  trials.filter((one) => Number.isFinite(one.value)).reduce((a, b) => (a === null || b.value > a.value ? b : a), null);

function Best({ job, trial }) {
  const spec = specOf(job, trial);
  return html`<section class="card best"><h2>Best so far: trial ${trial.id}${trial.state === "completed" ? "" : ` (${trial.state})`}</h2>
    <dl class="facts">${Object.entries(trial.params).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd class="number">${saidOf(value)}</dd></div>`)}
      <div><dt>validation ELBO</dt><dd class="number">${measured(trial.value, 6)} nats</dd></div><div><dt>epoch</dt><dd class="number">${trial.epoch} of ${trial.epochs}</dd></div></dl>
    <${Copy} text=${JSON.stringify(spec, null, 2)} what="a spec that trains this alone" words="Copy as a train spec" /></section>`;
}

/** The spec of a train job that does what this trial did. */
export function specOf(job, trial) {
  const train = structuredClone(job.spec.train);
  for (const [path, value] of Object.entries(trial.params)) {
    const names = path.split(".");
    const last = names.pop();
    const place = names.reduce((inner, name) => (inner[name] ??= {}), train);
    place[last] = value;
  }
  return { kind: "train", name: `${job.name}-trial-${trial.id}`, ...train };
}

function Curves({ curves, heard, best, at, setAt }) {
  const all = useMemo(() => {
    const known = new Map((curves.data?.curves ?? []).map(({ trial, points }) => [trial, points]));
    const added = new Set();
    for (const { id, epoch, value } of heard) {
      const points = known.get(id) ?? [];
      if (epoch <= (points.at(-1)?.[0] ?? 0) || !Number.isFinite(value)) continue;
      if (!added.has(id)) known.set(id, [...points]);
      added.add(id);
      known.get(id).push([epoch, value]);
    }
    return [...known].map(([id, points]) => ({ id, points }));
  }, [curves.data, heard]);
  useEffect(() => setAt(null), []);
  if (!curves.data) return html`<${Pending} got=${curves} />`;
  if (!all.length) return html`<p class="chart-none">No trial has an epoch behind it yet.</p>`;
  return html`<${Spaghetti} title="Validation ELBO" unit="nats" x="epoch" curves=${all} best=${best} at=${at} setAt=${setAt} wide />`;
}

function Axes({ trials, at, choose }) {
  const { axes, ids } = useMemo(() => {
    const names = [...new Set(trials.flatMap((trial) => Object.keys(trial.params)))];
    const shown = trials.filter((trial) => Number.isFinite(trial.value));
    const values = (name) => shown.map((trial) => plain(trial.params[name]));
    return {
      ids: shown.map((trial) => trial.id),
      axes: [...names.map((name) => ({ name, values: values(name), log: /rate|decay|weight|tolerance/.test(name) })), { name: "validation ELBO", values: shown.map((trial) => trial.value) }],
    };
  }, [trials]);
  if (ids.length < 2 || axes.length < 2) return html`<p class="chart-none">Drawn once two trials have a value.</p>`;
  return html`<${Parallel} title="Parallel coordinates" axes=${axes} ids=${ids} highlight=${at} choose=${choose} wide
    note="A line is a trial, from its parameters on the left to its ELBO on the right; the lightest and the darkest colour are the worst and the best rank." />`;
}

const plain = (value) => (typeof value === "number" ? value : value === undefined ? null : saidOf(value));
