// A spec, checked while it is written, planned, submitted.
import { html } from "../dom.js";
export const Submit = () => html`<h1>Submit</h1>`;
