"""What users may change of a record, checked as in a spec."""

from __future__ import annotations

import json
from typing import Annotated, final

from pydantic import AfterValidator, ValidationError

from closegap.errors import Conflict
from closegap.job import Record
from closegap.specs.kinds import Priority
from closegap.specs.labels import MOST, checked


@final
class Edit(Record):
    """None is as it was."""

    priority: Priority | None = None
    labels: Annotated[dict[str, str | None], AfterValidator(checked)] | None = None

    def arguments(self) -> tuple[str | float, str, int]:
        """As change.lua takes them."""
        return (
            "" if self.priority is None else self.priority,
            "" if self.labels is None else json.dumps(self.labels),
            MOST,
        )


def edit(priority: object, labels: object) -> Edit:
    """Raises Conflict, with each problem."""
    try:
        return Edit.model_validate({"priority": priority, "labels": labels})
    except ValidationError as error:
        found = (
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise Conflict(f"the change is not accepted: {'; '.join(found)}") from error
