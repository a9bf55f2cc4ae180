// Tabs whose choice is in the address.
import { html } from "../dom.js";
import { withQuery } from "../router.js";

/** `tabs`: [{key, head, count}]; the first is the one without a parameter. */
export function Tabs({ tabs, chosen, label }) {
  const first = tabs[0].key;
  return html`<nav class="tabs" aria-label=${label}>${tabs.map(
    ({ key, head, count }) => html`<a key=${key} class="tab" aria-current=${key === chosen ? "page" : null}
      href=${withQuery({ tab: key === first ? null : key }, { query: new URLSearchParams() })}>${head}${
        count === undefined || count === null ? null : html` <span class="count">${count}</span>`
      }</a>`,
  )}</nav>`;
}
