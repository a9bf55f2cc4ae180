// Numbers as people read them.
const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

/** 12,345 */
export const whole = (value) => (value === null || value === undefined ? "–" : WHOLE.format(value));

/** A measured value with so many digits that matter: 0.0123, −98.42, 1.20e-7. */
export function measured(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size >= 1e6 || size < 1e-4
      ? value.toExponential(Math.max(digits - 2, 1))
      : size >= 10 ** (digits - 1) ? WHOLE.format(value) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−").replace("e−", "e-");
}

/** −98.42 ± 0.13: the error with two digits, and the value as far as the error lets it be known. */
export function estimated(value, error, digits = 5) {
  if (!Number.isFinite(value) || !Number.isFinite(error) || !(error > 0)) return measured(value, digits);
  const places = Math.max(1 - Math.floor(Math.log10(error)), 0);
  if (places > 6 || Math.abs(value) >= 1e6) return `${measured(value, digits)} ± ${measured(error, 2)}`;
  return `${value.toFixed(places)} ± ${error.toFixed(places)}`.replace(/^-(?=0\.?0* )/, "").replace("-", "−");
}

const SIZES = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** 1.4 MiB */
export function bytes(count) {
  const step = count > 0 ? Math.min(Math.floor(Math.log2(count) / 10), SIZES.length - 1) : 0;
  const value = count / 1024 ** step;
  return `${step && value < 100 ? value.toFixed(1) : Math.round(value)} ${SIZES[step]}`;
}

/** "2 CPUs, 1 GPU" */
export const units = ({ cpus, gpus }) =>
  [[cpus, "CPU"], [gpus, "GPU"]].filter(([count], i) => count || i === 0).map(([count, name]) => `${measured(count)} ${name}${count === 1 ? "" : "s"}`).join(", ");
