"""What the steps of a claimed job may ask for: its input, and the outputs of the steps before.

All of it stays JSON text until a step asks, and is decoded anew for each: what one step does to its
`input` must not reach a later one, and most steps want the step before and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rkyc.engine.payloads import Payloads, tenant_of
from rkyc.errors import PayloadTooLargeError
from rkyc.flow import payload
from rkyc.flow.envelope import may_hold
from rkyc.flow.graph import Place, list_key
from rkyc.flow.job import ITEM_INPUT, Claim


class Unopened(Exception):
    """A text holds an envelope, which must be opened before it can be read: see `Inputs.open`."""

    def __init__(self, text: str) -> None:
        super().__init__("an envelope that was not opened")
        self.text = text


class Inputs(Mapping[str, Any]):
    """The values by name for the step at `place`: `job`, `input` and the names of earlier steps.

    Looking one up raises InvalidInputError where Postgres took JSON that can't be read, and PayloadTooLargeError
    where the claim left the outputs out for their size.
    """

    __slots__ = ("_claim", "_job", "_opened", "_outputs", "place")

    def __init__(self, claim: Claim, place: Place) -> None:
        self.place = place
        self._job = claim.input
        self._claim = claim
        # Texts that were opened: what they hold now is the job's own.
        self._opened: tuple[str, ...] = ()
        # An empty list: they are too large together.
        self._outputs = None if claim.outputs == [] else dict(claim.outputs or ())

    def move_on(self, place: Place, step: str, output: str) -> None:
        """Go to the next place; `output` is the JSON text that the step before left."""
        if self._outputs is not None:
            self._outputs[step] = output
        self.place = place

    async def open(self, payloads: Payloads, closed: Unopened) -> None:
        """Put what an envelope stands for in its place.

        Raises:
            StorageDownloadError, EncryptionError
        """
        text = await payloads.unwrap(closed.text)
        self._opened += (text,)
        if self._job is closed.text:
            self._job = text
        for name, output in (self._outputs or {}).items():
            if output is closed.text and self._outputs is not None:
                self._outputs[name] = text

    def read(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return what the step takes, and under what the places of its limits are counted.

        Raises:
            ValidationError: a value has not the declared shape.
            Unopened: one of them lies in a blob or is sealed: see `read_opened`.
        """
        step = self.place.step
        arguments = step.read_arguments(self)
        if not step.limits:
            return arguments, ()
        tenant = tenant_of(self._claim)
        return arguments, tuple([limit.scope(self, tenant) for limit in step.limits])

    async def read_opened(
        self, payloads: Payloads, closed: Unopened
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The same, after fetching what lies in blobs or is sealed, one after another.

        Raises:
            StorageDownloadError, EncryptionError, ValidationError
        """
        while True:
            await self.open(payloads, closed)
            try:
                return self.read()
            except Unopened as another:
                closed = another

    def add(self, outputs: Mapping[str, str]) -> None:
        """Add outputs from across a map's bounds, as JSON text by name."""
        if self._outputs is not None:
            self._outputs = {**outputs, **self._outputs}

    def _decode(self, text: str | None) -> Any:
        if text is not None and may_hold(text) and not any(text is one for one in self._opened):
            raise Unopened(text)
        return payload.decode(text)

    def __getitem__(self, name: str) -> Any:
        place = self.place
        if name == "job" or (name == "input" and not place.slots):
            return self._decode(self._job)
        outputs = self._outputs
        if outputs is None:
            raise PayloadTooLargeError(
                f"the outputs of the steps before {place.name} are too large together: let steps return references, "
                "and keep what is large in a table or a blob"
            )
        if name != "input":
            # None where a route went past it.
            return self._decode(outputs.get(place.lists.get(name, name)))
        if place.waits_for:
            found = (_find_last(slot, outputs) for slot in place.slots)
            return {each: self._decode(outputs.get(each)) for each in found}
        if place.collects:
            # A map over no elements leaves nothing behind.
            return self._decode(outputs.get(list_key(place.collects), "[]"))
        if place.starts_item:
            return self._decode(outputs[ITEM_INPUT])
        return self._decode(outputs.get(_find_last(place.slots[0], outputs)))

    def __iter__(self) -> Iterator[str]:
        return iter(("job", "input", *(self._outputs or ())))

    def __len__(self) -> int:
        return 2 + len(self._outputs or ())


def _find_last(slot: tuple[str, ...], outputs: Mapping[str, str]) -> str:
    """Return which step of a slot ran: of a route's arms the one that was taken."""
    if len(slot) == 1:
        return slot[0]
    return next((name for name in reversed([*outputs]) if name in slot), slot[-1])
