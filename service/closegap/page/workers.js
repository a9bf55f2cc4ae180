// Workers, projects and lines of the queue.
import { html } from "./dom.js";
export const Workers = () => html`<h1>Workers</h1>`;
