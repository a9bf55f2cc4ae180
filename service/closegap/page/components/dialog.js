// A question before something that cannot be taken back, and other things that lie over the page.
import { html, useEffect, useId, useRef } from "../dom.js";
import { Failure } from "./failure.js";
import { Icon } from "./icon.js";

/** Over the page until `close()`; Escape and a click beside it close it, too. */
export function Dialog({ title, close, children }) {
  const box = useRef(null);
  const name = useId();
  useEffect(() => {
    const opened = document.activeElement;
    box.current.showModal();
    return () => opened?.focus?.();
  }, []);
  return html`<dialog ref=${box} aria-labelledby=${name} onCancel=${(event) => {
      event.preventDefault();
      close();
    }} onMouseDown=${(event) => event.target === box.current && close()}>
    <div class="dialog-box"><header><h2 id=${name}>${title}</h2>
      <button type="button" class="icon-button" onClick=${close} aria-label="Close"><${Icon} name="close" /></button>
    </header>${children}</div></dialog>`;
}

/** Asks; `act` is of `useAction`, with its state. Nothing is chosen by mistake: the way back has the focus. */
export function Confirm({ title, words, yes, no = "Keep", act, state, close, children }) {
  return html`<${Dialog} title=${title} close=${close}>
    <p>${words}</p>${children}
    ${state.problem && html`<${Failure} problem=${state.problem} small />`}
    <footer><button type="button" class="button" onClick=${close} autofocus>${no}</button>
      <button type="button" class="button danger" disabled=${state.busy} onClick=${act}>${state.busy ? "…" : yes}</button>
    </footer><//>`;
}
