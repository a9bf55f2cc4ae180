// JSON values as YAML that people read; read back, they are the same values.
const PLAIN = /^[A-Za-z_][A-Za-z0-9_./@-]*( [A-Za-z0-9_./@-]+)*$/;
const WORDS = new Set(["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"]);
const WIDTH = 90;

function scalar(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return PLAIN.test(value) && !WORDS.has(value.toLowerCase()) ? value : JSON.stringify(value);
}

const isNested = (value) => value !== null && typeof value === "object";

function flow(value) {
  if (!isNested(value)) return scalar(value);
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  return `{${Object.entries(value).map(([name, one]) => `${scalar(name)}: ${flow(one)}`).join(", ")}}`;
}

/** Lines; what fits onto one and holds nothing nested twice stays on one. */
function block(value, indent) {
  const pad = " ".repeat(indent);
  if (Array.isArray(value)) {
    return value.flatMap((one) => {
      const short = flow(one);
      if (!isNested(one) || indent + short.length < WIDTH) return [`${pad}- ${short}`];
      const [first, ...rest] = block(one, indent + 2);
      return [`${pad}- ${first.trimStart()}`, ...rest];
    });
  }
  return Object.entries(value).flatMap(([name, one]) => {
    const empty = isNested(one) && Object.keys(one).length === 0;
    const short = `${pad}${scalar(name)}: ${flow(one)}`;
    const leaf = !isNested(one) || empty || (indent > 0 && short.length <= WIDTH) || (Array.isArray(one) && !one.some(isNested) && short.length <= WIDTH);
    return leaf ? [short] : [`${pad}${scalar(name)}:`, ...block(one, indent + 2)];
  });
}

export const toYaml = (value) => `${block(value, 0).join("\n")}\n`;
