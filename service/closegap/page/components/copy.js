// Putting text onto the clipboard, and saying that it was done.
import { html, useEffect, useState } from "../dom.js";
import { Icon } from "./icon.js";

/** The clipboard; plain HTTP from another machine has none in most browsers, so there is the old way, too. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "off-screen" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A button that copies; `what` names it: "id", "command". */
export function Copy({ text, what = "text", words = "" }) {
  const [state, setState] = useState("");
  useEffect(() => {
    const timer = state && setTimeout(() => setState(""), 1600);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = async (event) => {
    event.stopPropagation();
    event.preventDefault();
    setState((await copyText(text)) ? "copied" : "not copied");
  };
  return html`<button type="button" class=${words ? "button small" : "icon-button"} onClick=${copy}
    title=${`Copy ${what}`} aria-label=${words ? null : state || `Copy ${what}`}>
    <${Icon} name=${state === "copied" ? "check" : state ? "warning" : "copy"} size=${14} />
    ${words && html`<span>${state || words}</span>`}<span class="off-screen" role="status">${state}</span></button>`;
}

/** Text in a box with its copy button: a command, a digest. */
export function Copyable({ text, what, label }) {
  return html`<div class="copyable">${label && html`<span class="copyable-label">${label}</span>`}
    <pre tabindex="0" aria-label=${label ?? what}>${text}</pre><${Copy} text=${text} what=${what} /></div>`;
}
