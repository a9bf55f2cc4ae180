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

/** Where most of a curve lies: [lowest, highest] without the steep beginning; null where that hides next to nothing. */
export function settled(curves) {
  const all = extent(curves.flat());
  const later = extent(curves.flatMap((ys) => ys.slice(Math.floor(ys.length * 0.08))));
  const [low, high] = [later[0] - (later[1] - later[0]) * 0.06, later[1] + (later[1] - later[0]) * 0.06];
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
