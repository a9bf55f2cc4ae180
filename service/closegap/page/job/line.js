// A line of a log: plain text, or JSON as closegap's own processes write it.
const LEFT_OUT = new Set(["event", "level", "timestamp", "job", "attempt", "rank", "trial", "request", "logger", "exception"]);
const LEVELS = { warn: "warning", warning: "warning", error: "error", critical: "error", exception: "error" };
const WORDS = /\b(error|traceback|exception|critical)\b|\b(warning)\b/i;

/** {id, time, attempt, rank, level, text} of a log event; `attempt` is the one that runs where the line names none. */
export function entryOf(event, attempt) {
  const raw = String(event.data.line ?? "");
  const said = parsed(raw);
  const base = { id: event.id, time: event.time };
  if (!said) {
    const found = WORDS.exec(raw);
    const level = found?.[1] ? "error" : found?.[2] ? "warning" : "plain";
    return { ...base, attempt: event.data.attempt ?? attempt, rank: event.data.rank ?? null, level, text: visible(raw) };
  }
  const rest = Object.entries(said).filter(([name]) => !LEFT_OUT.has(name)).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const trial = said.trial === undefined || said.trial === null ? [] : [`trial ${said.trial}`];
  const text = [[said.event, ...trial, ...rest].join("  "), said.exception].filter(Boolean).join("\n");
  return { ...base, attempt: said.attempt ?? attempt, rank: said.rank ?? null, level: LEVELS[said.level] ?? "plain", text: visible(text) };
}

function parsed(raw) {
  if (!raw.startsWith("{")) return null;
  try {
    const said = JSON.parse(raw);
    return typeof said.event === "string" ? said : null;
  } catch {
    return null;
  }
}

// What moves a terminal's cursor or colours it is left out; what else is not to be seen is shown to be there.
const visible = (text) => text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").replace(/[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g, "�");
