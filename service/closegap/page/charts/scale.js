// From values to pixels, and the values that an axis names.

/** A function from `domain` to `range`, straight; `invert` goes back. */
export function linear([from, to], [start, end]) {
  const slope = to === from ? 0 : (end - start) / (to - from);
  const scale = (value) => start + (value - from) * slope;
  scale.invert = (pixel) => (slope ? from + (pixel - start) / slope : from);
  return scale;
}

/** About `count` round values within [from, to]. */
export function ticks(from, to, count = 5) {
  const step = roundStep((to - from) / Math.max(count, 1));
  if (!Number.isFinite(step) || step <= 0) return [from];
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function roundStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].find((part) => part * power >= raw * 0.999) * power;
}

/** [lowest, highest] of finite values, a little apart where they are one. */
export function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  return low === high ? [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05] : [low, high];
}

/**
 * Where curves settle: [lowest, highest] without their first points (`skip` of each, else a twelfth); null where that
 * hides next to nothing. `curves`: [{ys, judged}]; those that are not judged are drawn as far as the others reach.
 */
export function settled(curves, skip) {
  const known = curves.filter((curve) => curve.judged && curve.ys.length > 2);
  if (!known.length) return null;
  const all = extent(curves.flatMap((curve) => curve.ys));
  const [a, b] = extent(known.flatMap(({ ys }) => ys.slice(skip ?? Math.floor(ys.length / 12))));
  const [low, high] = [a - (b - a) * 0.08, b + (b - a) * 0.08];
  return all[1] - all[0] > 2.5 * (high - low) ? [low, high] : null;
}

/** Few digits, as an axis has them, so many that `step` is seen. */
export function label(value, step = 0) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1).replace("-", "−").replace("e−", "e-").replace("e+", "e");
  const digits = step ? Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))) : Math.max(0, 3 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en-GB", { maximumFractionDigits: digits }).replace("-", "−");
}
