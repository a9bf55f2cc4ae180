// A registered model: one version of it, what it is made of, where it comes from, how good it is, and the others.
import { useGet } from "./api.js";
import { html } from "./dom.js";
import { Copy } from "./components/copy.js";
import { Pending, Stale } from "./components/failure.js";
import { measured } from "./components/number.js";
import { Table } from "./components/table.js";
import { Ago } from "./components/time.js";
import { Parity, Quality } from "./kinds/export.js";
import { Files } from "./kinds/files.js";
import { Grid, Section, Tiles, Verdict } from "./kinds/parts.js";
import { KlColumns, Reconstructions } from "./kinds/train.js";
import { Aliases } from "./model/aliases.js";
import { GapReport } from "./model/gaps.js";
import { Lineage } from "./model/lineage.js";
import { TryOut } from "./model/tryout.js";
import { to } from "./router.js";

export function Model({ name, version, query }) {
  const project = query.get("project");
  const params = project ? { project } : {};
  const path = `/v1/models/${encodeURIComponent(name)}`;
  const model = useGet(path, { params, every: 30 });
  const number = version ?? model.data?.versions.at(-1)?.version;
  const one = useGet(number ? `${path}/versions/${encodeURIComponent(number)}` : null, { params });
  if (!model.data) return html`<h1>${name}</h1><${Pending} got=${model} />`;
  if (!one.data) return html`<h1>${name}</h1><${Pending} got=${one} />`;
  const changed = () => (model.reload(), one.reload());
  return html`<${Header} model=${model.data} one=${one.data} />
    <${Stale} got=${model} />
    <${Version} key=${one.data.version} model=${model.data} one=${one.data} path=${`${path}/versions/${number}`} params=${params} changed=${changed} />`;
}

const FILES = ["preview.json", "quality.json", "parity.json", "config.json"];

function Version({ model, one, path, params, changed }) {
  const had = (name) => one.bundle.files.some((file) => file.name === name);
  const [preview, quality, parity, config] = FILES.map((name) => useGet(had(name) ? `${path}/files/${name}` : null, { params }));
  const lineage = useGet(`${path}/lineage`, { params });
  return html`<div class="work-view"><${Figures} one=${one} />
      <${Section} title="Aliases" lead="A word that stands for a version in specs and in requests, such as name@best, until it is set again.">
        <${Aliases} model=${model} shown=${one.version} params=${params} changed=${changed} /><//>
      <${Section} title="Lineage"><${Lineage} got=${lineage} /><//>
      ${had("parity.json") && html`<${Exported} job=${one.job} parity=${parity} quality=${had("quality.json") ? quality : null} />`}
      <${GapReport} lineage=${lineage} />
      ${had("preview.json") && html`<${Trained} preview=${preview} />`}
      ${one.encodes && html`<${Section} title="Try it" lead="A few rows through the exported encoder, now: the posterior of each, with its ELBO as evidence.">
        <${TryOut} target=${`/v1/encode/${one.name}:${one.version}`} params=${params} preview=${preview.data} quality=${quality.data} config=${config.data} /><//>`}
      <${Section} title="Versions"><${Versions} model=${model} shown=${one.version} /><//>
      <${Section} title="Bundle"><p class="muted">Kind ${one.bundle.kind}, <code class="digest">${one.bundle.digest}</code> <${Copy} text=${one.bundle.digest} what="digest" /></p>
        <${Files} artifact=${one.bundle} params=${params} /><//></div>`;
}

function Header({ model, one }) {
  const reference = `${model.name}/${one.version}`;
  return html`<header class="model-top"><p class="muted"><a href="/models">Models</a> · ${model.project}</p>
    <h1>${model.name} <span class="muted">version ${one.version}</span> <${Copy} text=${reference} what=${`reference ${reference}`} /></h1>
    <p class="muted">Registered <${Ago} time=${one.created} /> by <a href=${to.job(one.job)}><code>${one.job}</code></a>${
      one.version < model.versions.at(-1).version ? html` · <a href=${to.model(model.name, null, model.project)}>newest is version ${model.versions.at(-1).version}</a>` : ""}</p></header>`;
}

function Figures({ one }) {
  const summary = one.metrics?.summary ?? {};
  const last = one.metrics?.history?.[(summary.kept_epoch ?? 0) - 1] ?? one.metrics?.history?.at(-1);
  return html`<${Tiles} items=${[
    ["Validation ELBO", measured(summary.valid_elbo, 5), "nats"], ["Training ELBO", measured(summary.train_elbo, 5), "nats"],
    ["KL", measured(last?.valid?.kl, 4), "nats"], ["Active units", last?.valid?.active_units ?? null], ["Kept epoch", summary.kept_epoch ?? null, summary.epochs ? `of ${summary.epochs}` : ""],
    ["Encoder", one.encodes ? html`<${Verdict} good word="exported" />` : "not exported"], ["Bundle", html`<code title=${one.bundle.digest}>${one.bundle.digest.slice(7, 19)}</code>`],
  ]} />`;
}

function Exported({ job, parity, quality }) {
  const made = useGet(quality ? `/v1/jobs/${job}` : null);
  return html`<${Section} title="Quality curve">${quality?.data ? html`<${Quality} quality=${quality.data} rates=${made.data?.outputs.rows_per_second} />`
      : quality ? html`<${Pending} got=${quality} />` : html`<p class="chart-none">It was exported before the curve was kept.</p>`}
    ${parity.data ? html`<details class="parity"><summary>Parity: <${Verdict} good /> ${Object.keys(parity.data.checks).length} checks on ${parity.data.rows} validation rows</summary><${Parity} parity=${parity.data} /></details>` : html`<${Pending} got=${parity} />`}<//>`;
}

function Trained({ preview }) {
  const got = preview.data ? { ...preview, data: { preview: preview.data } } : preview;
  return html`<${Section} title="What it has learned"><${Grid}><${Reconstructions} got=${got} />
    ${preview.data?.kl_by_dimension && html`<${KlColumns} kl=${preview.data.kl_by_dimension} variance=${preview.data.posterior_variance} active=${preview.data.active} rows=${preview.data.measured_rows} />`}<//><//>`;
}

function Versions({ model, shown }) {
  const columns = [
    { key: "version", head: "Version", class: "number", cell: (row) => html`<a href=${to.model(model.name, row.version, model.project)} aria-current=${row.version === shown ? "page" : null}>${row.version}</a>${row.version === shown ? html` <span class="muted">shown</span>` : ""}` },
    { key: "aliases", head: "Aliases", cell: (row) => model.aliases.filter((alias) => alias.version === row.version).map((alias) => html`<span key=${alias.alias} class="label">@${alias.alias}</span> `) },
    { key: "job", head: "Job", cell: (row) => html`<a href=${to.job(row.job)}><code>${row.job}</code></a>` },
    { key: "digest", head: "Digest", class: "not-narrow", cell: (row) => html`<code class="digest">${row.digest.slice(7, 23)}…</code><${Copy} text=${row.digest} what="digest" />` },
    { key: "created", head: "Registered", class: "right nowrap", cell: (row) => html`<${Ago} time=${row.created} />` },
  ];
  return html`<${Table} columns=${columns} rows=${[...model.versions].reverse()} id=${(row) => row.version} caption="Versions" dense rowProps=${(row) => ({ class: row.version === shown ? "chosen" : "" })} />`;
}
