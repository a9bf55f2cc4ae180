// What stands where there is nothing: that it loads, or that there is none and what to do.
import { html } from "../dom.js";

/** `title`: what there is none of. Children: what to do about it. */
export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2><div class="empty-words">${children}</div></div>`;
}

/** Lines where text will be; shown only after a moment, so that quick answers do not flicker. */
export function Loading({ lines = 4, what = "Loading" }) {
  return html`<div class="loading" role="status" aria-label=${what}>
    ${Array.from({ length: lines }, (_, i) => html`<div key=${i} class=${`loading-line w${i % 4}`} />`)}</div>`;
}
