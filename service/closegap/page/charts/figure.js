// What every chart stands in: a title with its unit, a word on how to read it, and its numbers as a table.
import { html, useId, useState } from "../dom.js";
import { Copy } from "../components/copy.js";
import { measured } from "../components/number.js";

const MOST = 500;
const text = (value) => (typeof value === "number" ? (Number.isInteger(value) ? String(value) : measured(value, 6)) : value ?? "–");

/**
 * `table`: () => {head: [names], rows: [[values]]}, asked for only when it is opened. `extra` stands beside the title.
 */
export function Figure({ title, unit, note, table, extra, wide = false, tall = false, children }) {
  const [open, setOpen] = useState(false);
  const name = useId();
  return html`<figure class=${`chart-figure ${wide ? "wide" : ""} ${tall ? "tall" : ""}`} aria-labelledby=${name} data-chart=${title}>
    <figcaption><h3 id=${name}>${title}${unit && html` <span class="unit">${unit}</span>`}</h3>
      <span class="chart-extra">${extra}${table && html`<button type="button" class="quiet faint" aria-expanded=${open}
        onClick=${() => setOpen(!open)}>${open ? "Hide data" : "Show data"}</button>`}</span></figcaption>
    ${children}
    ${note && html`<p class="chart-note">${note}</p>`}
    ${open && html`<${Data} ...${table()} title=${title} />`}
  </figure>`;
}

function Data({ head, rows, title }) {
  const csv = [head, ...rows].map((row) => row.map(quoted).join(",")).join("\n");
  return html`<div class="chart-data"><div class="chart-data-top"><span class="muted">${rows.length} ${rows.length === 1 ? "row" : "rows"}${
      rows.length > MOST ? `, the last ${MOST} are shown` : ""}</span><${Copy} text=${csv} what="CSV" words="Copy CSV" /></div>
    <div class="table-frame" tabindex="0"><table class="table dense"><caption class="off-screen">${title}</caption>
      <thead><tr>${head.map((one, i) => html`<th key=${i} scope="col" class=${i ? "right" : ""}>${one}</th>`)}</tr></thead>
      <tbody>${rows.slice(-MOST).map((row, i) => html`<tr key=${i}>${row.map(
        (value, j) => html`<td key=${j} class=${j ? "right number" : "number"}>${text(value)}</td>`)}</tr>`)}</tbody></table></div></div>`;
}

function quoted(value) {
  const said = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(said) ? `"${said.replaceAll('"', '""')}"` : said;
}

/** What a series is drawn as: a stroke of its colour, whole or broken. */
export const Key = ({ number, dash, name, value, off, onClick }) => {
  const inner = html`<svg class=${`key series-${number % 7}`} viewBox="0 0 20 8" width="20" height="8" aria-hidden="true">
      <path d="M0 4h20" stroke-dasharray=${dash ?? null} /></svg><span>${name}</span>${
        value !== undefined ? html` <span class="number key-value">${value}</span>` : null}`;
  if (!onClick) return html`<span class="key-item">${inner}</span>`;
  return html`<button type="button" class=${`key-item ${off ? "off" : ""}`} aria-pressed=${!off} onClick=${onClick}
    title=${off ? `Show ${name}` : `Hide ${name}`}>${inner}</button>`;
};
