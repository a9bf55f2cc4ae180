// Whether what is shown follows what happens.
import { html } from "../dom.js";
import { useStatus } from "../live.js";

const SAYS = { connecting: "connecting", live: "live", reconnecting: "reconnecting", resting: "resting", over: "" };
const MEANS = {
  live: "Events are shown as they happen",
  reconnecting: "The connection was lost; it is tried again, nothing is missed",
  resting: "Goes on when this tab is seen again",
};

export function LiveSign({ live, over = false }) {
  const status = useStatus(live);
  if (over || !live || status === "over") return null;
  return html`<span class=${`live live-${status}`} role="status" title=${MEANS[status]}><span class="live-dot" aria-hidden="true" />${SAYS[status]}</span>`;
}
