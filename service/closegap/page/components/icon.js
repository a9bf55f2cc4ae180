// Pictures of 16 by 16, drawn in the colour of the text around them.
import { html } from "../dom.js";

const PATHS = {
  blocked: html`<circle cx="8" cy="8" r="5.75" stroke-dasharray="2.2 1.8" />`,
  queued: html`<circle cx="8" cy="8" r="5.75" /><path d="M8 4.75V8l2.1 1.6" />`,
  claimed: html`<circle cx="8" cy="8" r="5.75" /><path d="M8 2.25a5.75 5.75 0 0 1 0 11.5z" class="filled" />`,
  running: html`<circle cx="8" cy="8" r="6.5" class="filled" stroke="none" /><path d="M6.5 5.2v5.6L11 8z" class="hole" />`,
  paused: html`<circle cx="8" cy="8" r="5.75" /><path d="M6.4 6v4M9.6 6v4" />`,
  succeeded: html`<circle cx="8" cy="8" r="6.5" class="filled" stroke="none" /><path d="m5.2 8.2 2 2 3.7-4.2" class="cut" />`,
  failed: html`<path d="M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z" class="filled" stroke="none" /><path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" class="cut" />`,
  cancelled: html`<circle cx="8" cy="8" r="5.75" /><path d="m4.2 11.8 7.6-7.6" />`,
  copy: html`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 5.5v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2" />`,
  check: html`<path d="m3 8.5 3.2 3.2L13 4.8" />`,
  close: html`<path d="m4 4 8 8m0-8-8 8" />`,
  search: html`<circle cx="7" cy="7" r="4.25" /><path d="m10.2 10.2 3.3 3.3" />`,
  download: html`<path d="M8 2.5v7.5m-3-3 3 3 3-3M3 13.5h10" />`,
  warning: html`<path d="M8 2 14.5 13.5h-13z" /><path d="M8 6.5v3.2m0 1.7v.1" />`,
  sun: html`<circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1.3m0 10.4v1.3M1.5 8h1.3m10.4 0h1.3M3.4 3.4l.9.9m7.4 7.4.9.9m0-9.2-.9.9m-7.4 7.4-.9.9" />`,
  moon: html`<path d="M13 9.7A5.5 5.5 0 0 1 6.3 3 5.5 5.5 0 1 0 13 9.7z" />`,
  auto: html`<circle cx="8" cy="8" r="5.75" /><path d="M8 2.25a5.75 5.75 0 0 1 0 11.5z" class="filled" />`,
  right: html`<path d="m6.2 3.5 4.5 4.5-4.5 4.5" />`,
  plus: html`<path d="M8 3v10M3 8h10" />`,
  keys: html`<rect x="1.5" y="4" width="13" height="8.5" rx="1.5" /><path d="M4 6.7h.1m2.6 0h.1m2.6 0h.1m2.4 0h.1M5 9.8h6" />`,
  file: html`<path d="M3.5 1.8h5.2l3.8 3.8v8.6h-9z" /><path d="M8.5 2v3.8h3.8" />`,
  up: html`<path d="M8 13V3.5m-4 4 4-4 4 4" />`,
};

/** A picture. What it says must stand beside it as words, or in `label`. */
export function Icon({ name, size = 16, label }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 16 16" aria-hidden=${label ? null : "true"}
    role=${label ? "img" : null} aria-label=${label}>${PATHS[name]}</svg>`;
}
