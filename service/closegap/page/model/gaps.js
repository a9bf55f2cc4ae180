// The newest evaluation of a model, found among the jobs that were submitted with it.
import { useGet } from "../api.js";
import { html } from "../dom.js";
import { measured } from "../components/number.js";
import { Sentences, Section } from "../kinds/parts.js";
import { Gaps } from "../kinds/evaluate.js";
import { to } from "../router.js";

export function GapReport({ lineage }) {
  const makers = (lineage.data?.steps ?? []).map((step) => step.job).filter(Boolean);
  const job = useGet(makers.length ? `/v1/jobs/${makers.at(-1)}` : null);
  const jobs = useGet(job.data ? "/v1/jobs" : null, { params: { pipeline: job.data?.pipeline, kind: "evaluate", state: "succeeded", limit: 100 } });
  const found = (jobs.data?.jobs ?? []).find((one) => Object.values(one.needs).some((need) => makers.includes(need)));
  const metrics = useGet(found ? `/v1/jobs/${found.id}/artifacts/report/metrics.json` : null);
  if (!found || !metrics.data) return null;
  const report = metrics.data;
  return html`<${Section} title="Gap report" lead=${html`By <a href=${to.job(found.id)}>${found.name}</a>, on ${report.rows} rows of ${report.part}: ELBO ${measured(report.elbo, 5)} ± ${measured(report.elbo_standard_error, 2)}, IWAE bound ${measured(report.iwae.value, 5)} ± ${measured(report.iwae.standard_error, 2)} nats.`}>
    ${report.gaps ? html`<${Gaps} gaps=${report.gaps} />` : null}
    <${Sentences} items=${report.verdict} /><//>`;
}
