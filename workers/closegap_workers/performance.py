"""A job's work from its spec to what it leaves: in this process, or in the Ray cluster."""

from __future__ import annotations

from closegap_workers.runners import Context, Result, Runner, Task, runner


def performed(context: Context) -> Result | None:
    """What the job leaves; None when it was asked to stop and did. Raises what the work raises."""
    chosen = runner(context.spec.kind)
    task = {**chosen.task(context), "traced": context.traced}
    inline = context.spec.resources.workers == 0
    answer = chosen.inline(context, task) if inline else _on_ray(chosen, context, task)
    return None if answer is None else chosen.result(context, task, answer)


def _on_ray(chosen: Runner, context: Context, task: Task) -> Task | None:
    # Ray takes a second to import: only who needs it does.
    if chosen.on_ray == "ranks":
        from closegap_workers import ray_train

        return ray_train.run(chosen.kind, context, task)
    if chosen.on_ray == "trials":
        from closegap_workers import ray_tune

        return ray_tune.run(context, task)
    from closegap_workers import ray_task

    return ray_task.run(chosen.kind, context, task)
