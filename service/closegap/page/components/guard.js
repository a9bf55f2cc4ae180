// What goes wrong while something is drawn stays within it.
import { Component } from "../vendor/preact.js";
import { Problem } from "../api.js";
import { html } from "../dom.js";
import { Failure } from "./failure.js";

/** Its children, or what is wrong with them. */
export class Guard extends Component {
  constructor() {
    super();
    this.state = { error: null };
  }

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    console.error(error);
  }

  render({ children }, { error }) {
    if (!error) return children;
    const problem = new Problem({ title: "This cannot be drawn", detail: String(error.message ?? error) });
    return html`<${Failure} problem=${problem} retry=${() => location.reload()} />`;
  }
}
