// Export: whether the file is the trained model, and what it gives at which price.
import { html } from "../dom.js";
import { useGet } from "../api.js";
import { Pending } from "../components/failure.js";
import { measured, whole } from "../components/number.js";
import { Table } from "../components/table.js";
import { Lines } from "../charts/line.js";
import { Nothing, Section, Tiles, Verdict } from "./parts.js";

export function Export({ job }) {
  const there = Boolean(job.outputs?.model);
  const base = `/v1/jobs/${job.id}/artifacts/model`;
  const listed = useGet(there ? `/v1/jobs/${job.id}/artifacts` : null);
  const names = listed.data?.artifacts[0]?.files.map((file) => file.name) ?? [];
  const parity = useGet(names.includes("parity.json") ? `${base}/parity.json` : null);
  const quality = useGet(names.includes("quality.json") ? `${base}/quality.json` : null);
  if (!there) return html`<${Nothing} job=${job}>${job.state === "running" ? html`<p>The file is compared with the model, check by check; it is written only if all of them pass.</p>` : null}<//>`;
  if (!parity.data) return html`<${Pending} got=${listed.problem ? listed : parity} />`;
  return html`<div class="work-view">
    <${Tiles} items=${[
      ["Parity", html`<${Verdict} good />`], ["Checks", whole(Object.keys(parity.data.checks).length)], ["Rows compared", whole(parity.data.rows), parity.data.part],
      ["Knee", quality.data?.knee ?? null, "iterations"], ["Default", quality.data?.default ?? null, "iterations"],
    ]} />
    ${quality.data && html`<${Section} title="Quality curve"><${Quality} quality=${quality.data} rates=${job.outputs.rows_per_second} /><//>`}
    <${Section} title="Parity" lead="Errors of a row against a float64 oracle, relative: of the exported file, and of the trained float32 model itself, whose rounding the file may share. An export beyond a limit fails and leaves nothing.">
      <${Parity} parity=${parity.data} /><//></div>`;
}

/** ELBO by iteration with its knee, and what an iteration costs. `rates`: rows a second by iterations. */
export function Quality({ quality, rates }) {
  const points = quality.points.map((point) => [point.iterations, point.elbo]);
  const speed = Object.entries(rates ?? {}).map(([count, rate]) => [Number(count), rate]).sort((a, b) => a[0] - b[0]);
  if (points.length < 2) {
    return html`<p>One pass: <strong class="number">${measured(points[0]?.[1], 5)}</strong> nats on ${quality.rows} validation rows${speed.length ? html`, at <strong class="number">${whole(speed.at(-1)[1])}</strong> rows a second on one thread` : null}.</p>`;
  }
  const marks = [...(quality.knee === null ? [] : [{ x: quality.knee, name: quality.knee === quality.default ? "knee, default" : "knee" }]), ...(quality.knee === quality.default ? [] : [{ x: quality.default, name: "default" }])];
  const first = quality.first ? "one iteration" : "none";
  return html`<${Lines} title="ELBO and speed by iterations" unit="nats" x=${{ name: "iterations", whole: true }} settle=${{ skip: quality.first ?? 0, of: ["ELBO"] }} marks=${marks} wide height=${260}
    curves=${[{ name: "ELBO", points, number: 0, width: 2.2 }, ...(speed.length > 1 ? [{ name: "rows/s", points: speed, number: 2, dash: [5, 4], axis: "right" }] : [])]}
    right=${speed.length > 1 ? { name: "rows/s, one thread", range: [0, 1.08 * Math.max(...speed.map((point) => point[1]))] } : null}
    note=${`On ${quality.rows} validation rows, ± ${measured(quality.points.at(-1).standard_error, 2)} nats. The knee is the fewest iterations with 95 % of what they gain over ${first}. Rates are of the machine that exported.`} />`;
}

const number = (text) => Number(text.match(/\d+/)?.[0] ?? 0);
const order = (a, b) => a[0].replace(/\d+/g, "").localeCompare(b[0].replace(/\d+/g, "")) || number(a[0]) - number(b[0]);

/** Every comparison of the gate. */
export function Parity({ parity }) {
  const rows = Object.entries(parity.checks).sort(order).flatMap(([name, figures]) => {
    if (figures.posterior) return [["q after " + name, figures.posterior], ["ELBO after " + name, figures.elbo]];
    return [[name, figures]];
  });
  const limits = parity.limits;
  const columns = [
    { key: "name", head: "Check", cell: ([name]) => name },
    ...[["file_median", "File, median row"], ["file_max", "File, worst row"], ["model_median", "Model, median row"], ["model_max", "Model, worst row"]].map(([key, head]) => ({
      key, head, class: "right number", cell: ([, figures]) => ("bitwise" in figures ? (key === "file_median" ? "bit for bit" : "") : measured(figures[key], 3)) })),
  ];
  return html`<${Table} columns=${columns} rows=${rows} id=${([name]) => name} caption="Checks of the exported file" dense />
    <p class="chart-note">Limits: one iteration ${measured(limits.one_step)}, median row ${measured(limits.median_row)}, ELBO ${measured(limits.elbo)}, or ${limits["times_the_model's_own_error"]} times the model’s own error where that is more.</p>`;
}
