// Rows of data as pictures: a line for the data, below it one for each iteration.
import { html, useEffect, useRef } from "../dom.js";
import { Figure } from "./figure.js";
import { measured } from "../components/number.js";

/** Whether rows of this shape are pictures: (H, W), (H, W, 1) or (H, W, 3). */
export const drawable = (shape) => shape.length === 2 || (shape.length === 3 && [1, 3].includes(shape[2]));

const bytesOf = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));

/** `lines`: [{name, said, data: base64 of rows x values bytes}]. */
export function Images({ title, note, shape, rows, lines, wide, tall }) {
  if (!drawable(shape)) {
    return html`<${Figure} title=${title} wide=${wide}><p class="chart-none">Rows of shape ${shape.join(" × ")} are no pictures, so none are drawn.</p><//>`;
  }
  return html`<${Figure} title=${title} note=${note} wide=${wide} tall=${tall}><div class="strips" role="table" aria-label=${title}>${lines.map(
    (line, i) => html`<div key=${line.name} role="row" class=${`strip ${i === 0 ? "data" : ""}`}><span role="rowheader" class="strip-name">${line.name}</span>
      <span role="cell" class="strip-cell"><${Strip} ...${{ shape, rows }} data=${line.data} label=${line.name} /></span>
      <span role="cell" class="strip-said number muted">${line.said}</span></div>`,
  )}</div><//>`;
}

/** Pictures side by side, each as large as a stylesheet has it, with hard pixels. */
function Strip({ shape, rows, data, label }) {
  const place = useRef(null);
  const [height, width, colours = 1] = shape;
  useEffect(() => {
    const levels = bytesOf(data);
    const canvas = place.current;
    canvas.width = rows * (width + 1) - 1;
    canvas.height = height;
    const context = canvas.getContext("2d");
    for (let row = 0; row < rows; row++) {
      const picture = context.createImageData(width, height);
      for (let pixel = 0; pixel < width * height; pixel++) {
        const from = (row * width * height + pixel) * colours;
        for (let part = 0; part < 3; part++) picture.data[4 * pixel + part] = levels[from + (colours === 3 ? part : 0)];
        picture.data[4 * pixel + 3] = 255;
      }
      context.putImageData(picture, row * (width + 1), 0);
    }
  }, [data, rows, height, width, colours]);
  const scale = Math.max(1, Math.min(8, Math.round(44 / height)));
  return html`<canvas ref=${place} role="img" aria-label=${label} style=${{ width: `${(rows * (width + 1) - 1) * scale}px`, height: `${height * scale}px` }} />`;
}

/** The lines of a preview: x, then each iteration with the mean ELBO of the rows that are shown. */
export function stripsOf(preview) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  return [
    { name: "x", said: "", data: preview.originals },
    ...preview.iterations.map((t, i) => ({
      name: `t = ${t}`,
      said: preview.elbo && preview.elbo[i].every(Number.isFinite) ? `${measured(mean(preview.elbo[i]), 4)} nats` : "",
      data: preview.reconstructions[i],
    })),
  ];
}
