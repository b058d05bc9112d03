"""What the steps of a claimed job may ask for: its input, and the outputs of the steps before.

All of it stays JSON text until a step asks, and is decoded anew for each: what one step does to its
`input` must not reach a later one, and most steps want the step before and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rkyc.errors import PayloadTooLargeError
from rkyc.flow import payload
from rkyc.flow.graph import Place
from rkyc.flow.job import Claim


class Inputs(Mapping[str, Any]):
    """The values by name for the step at `place`: `job`, `input` and the names of earlier steps.

    Looking one up raises InvalidInputError where Postgres took JSON that can't be read, and PayloadTooLargeError
    where the claim left the outputs out for their size.
    """

    __slots__ = ("_job", "_outputs", "place")

    def __init__(self, claim: Claim, place: Place) -> None:
        self.place = place
        self._job = claim.input
        # An empty list: they are too large together.
        self._outputs = None if claim.outputs == [] else dict(claim.outputs or ())

    def move_on(self, place: Place, step: str, output: str) -> None:
        """Go to the next place; `output` is the JSON text that the step before left."""
        if self._outputs is not None:
            self._outputs[step] = output
        self.place = place

    def __getitem__(self, name: str) -> Any:
        before = self.place.before
        if name == "job" or (name == "input" and not before):
            return payload.decode(self._job)
        outputs = self._outputs
        if outputs is None:
            raise PayloadTooLargeError(
                f"the outputs of the steps before {self.place.name} are too large together: let steps return references, "
                "and keep what is large in a table or a blob"
            )
        if name != "input":
            return payload.decode(outputs[name])
        if self.place.waits_for:
            return {each: payload.decode(outputs.get(each)) for each in before}
        return payload.decode(outputs.get(before[0]))

    def __iter__(self) -> Iterator[str]:
        return iter(("job", "input", *(self._outputs or ())))

    def __len__(self) -> int:
        return 2 + len(self._outputs or ())
