// What each kind of job shows of its work: a component with {job, api, live}, drawn as the first tab of a job's page.
import { Raw } from "./raw.js";

export const KINDS = { train: Raw, sweep: Raw, evaluate: Raw, export: Raw, encode: Raw, compare: Raw };
