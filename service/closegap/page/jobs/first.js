// What somebody sees who has no jobs yet: what to do, in the page or in a terminal.
import { html } from "../dom.js";
import { Copyable } from "../components/copy.js";

export function FirstSteps() {
  return html`<section class="first">
    <h1>No jobs yet</h1>
    <p class="lead">A job is a spec that waits in the queue until a worker runs it: <em>train</em> a latent-variable model, ${""}
      <em>evaluate</em> its bounds and gaps, <em>export</em> its encoder, <em>encode</em> a data set, <em>sweep</em> over settings, ${""}
      <em>compare</em> results.</p>
    <div class="first-ways">
      <section><h2>Here</h2>
        <p>Begin with an example; it is checked while you edit it, and says what would happen before it is submitted.</p>
        <p class="first-examples"><a class="button primary" href="/submit?example=quick">Train on digits</a>
          <a class="button" href="/submit?example=pipeline">A whole pipeline</a>
          <a class="button" href="/submit">Another spec</a></p></section>
      <section><h2>In a terminal</h2>
        <${Copyable} text="closegap example train > train.yaml" what="command" />
        <${Copyable} text="closegap submit train.yaml --wait" what="command" /></section>
    </div>
  </section>`;
}
