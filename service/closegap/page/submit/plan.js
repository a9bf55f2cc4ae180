// What would happen: each job of a valid spec with what it takes, why it would wait, and how long it would run.
import { html } from "../dom.js";
import { to } from "../router.js";
import { Icon } from "../components/icon.js";
import { units } from "../components/number.js";
import { span } from "../components/time.js";

export function Plan({ specs, plan }) {
  return html`<section class="verdict"><h2><span class="good"><${Icon} name="check" /></span>Valid${specs.length > 1 ? `: ${specs.length} jobs` : ""}</h2>
    <ol class="plan">${specs.map((spec, i) => html`<${One} key=${i} spec=${spec} planned=${plan?.jobs[i]} />`)}</ol></section>`;
}

function One({ spec, planned }) {
  const takes = planned && units(planned);
  return html`<li class="planned"><p><strong>${spec.name ?? spec.kind}</strong> <span class="muted">${[spec.name === spec.kind ? "" : spec.kind, takes].filter(Boolean).join(" · ")}</span></p>
    ${planned?.refused
      ? html`<p class="refused"><${Icon} name="warning" size=${14} /> It would be refused: ${planned.refused}</p>`
      : planned && html`<p class=${`state-${planned.state} plan-state`} title=${planned.unblocked_by && `What lets it run: ${planned.unblocked_by}`}><${Icon} name=${planned.state} size=${14} />
          <span>${planned.place > 1 && html`<strong class="number">#${planned.place}</strong> `}<span class="muted">${planned.reason}</span></span></p>`}
    ${planned && !planned.refused && html`<p class="muted">${Number.isFinite(planned.seconds)
      ? html`<span title=${planned.seconds_why}>About <strong>${span(planned.seconds)}</strong>${planned.seconds_from && html`, by <a href=${to.job(planned.seconds_from)}>${planned.seconds_from}</a>`}</span>`
      : planned.seconds_why && `Time unknown: ${planned.seconds_why}`}</p>`}
  </li>`;
}
