// What each kind of job shows of its work: a component with {job, live}, drawn as the first tab of a job's page.
import { Compare } from "./compare.js";
import { Encode } from "./encode.js";
import { Evaluate } from "./evaluate.js";
import { Export } from "./export.js";
import { Sweep } from "./sweep.js";
import { Train } from "./train.js";

export const KINDS = { train: Train, sweep: Sweep, evaluate: Evaluate, export: Export, encode: Encode, compare: Compare };
