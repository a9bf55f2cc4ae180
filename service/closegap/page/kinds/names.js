// The kinds of jobs, each with what its work is called.
export const NAMES = { train: "Training", sweep: "Sweep", evaluate: "Evaluation", export: "Export", encode: "Encoding", compare: "Comparison" };
