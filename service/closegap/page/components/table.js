// A table: columns {key, head, cell(row), class, title}. Rows are kept by id, so that a repetition redraws what changed.
import { classes, html } from "../dom.js";

export function Table({ columns, rows, id = (row) => row.id, rowProps, caption, dense = false, name = "" }) {
  return html`<div class="table-frame"><table class=${classes("table", name, { dense })}>
    <caption class="off-screen">${caption}</caption>
    <thead><tr>${columns.map(
      (column) => html`<th key=${column.key} scope="col" class=${column.class} title=${column.title}>${column.head}</th>`,
    )}</tr></thead>
    <tbody>${rows.map(
      (row) => html`<tr key=${id(row)} ...${rowProps?.(row) ?? {}}>${columns.map(
        (column) => html`<td key=${column.key} class=${column.class}>${column.cell(row)}</td>`,
      )}</tr>`,
    )}</tbody></table></div>`;
}

/** Names and values: [["Created", …], …]; those whose value is null or undefined are left out. */
export function Facts({ items, wide = false }) {
  const shown = items.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class=${classes("facts", { wide })}>${shown.map(
    ([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl>`;
}
