"""The sizes that the checker walks, and where each broken variant shows."""

from __future__ import annotations

from typing import Any

from rkyc.flow.compile import compile_graph
from rkyc.flow.graph import Graph, chain, chord
from rkyc.flow.protocol.actions import LISTENER
from rkyc.flow.protocol.checker import Checker, Size, Walk
from rkyc.flow.protocol.rules import Rules
from rkyc.flow.retry import RetryPolicy
from rkyc.flow.step import step


@step(retry=RetryPolicy(max_attempts=2))
async def _work(ctx: Any, input: Any) -> Any:
    return input


@step(retry=RetryPolicy(max_attempts=2), task_name=LISTENER)
async def _listen(ctx: Any, input: Any) -> Any:
    return await ctx.wait_signal("go")


CHAIN: Graph = compile_graph(chain(_work.named("first"), _work.named("second"), _work.named("third")))
# Its fork is a place of its own, which passes the input on.
CHORD: Graph = compile_graph(chord([_work.named("left"), _work.named("right")], _work.named("gather")))
PAIR: Graph = compile_graph(chain(_work.named("first"), _work.named("second")))
SINGLE: Graph = compile_graph(_work.named("only"))
WAITER: Graph = compile_graph(chain(_work.named("first"), _listen.named("second"), _work.named("third")))
GRAPHS: dict[str, Graph] = {"chain": CHAIN, "chord": CHORD, "pair": PAIR, "single": SINGLE, "waiter": WAITER}

# Small ones first: what is broken shows there, in a short trace.
_REVEALING = (
    Size((PAIR,), workers=2, faults=2),
    Size((CHORD,), workers=2, faults=1),
    Size((SINGLE, SINGLE), workers=1, faults=2),
    Size((WAITER,), workers=1, faults=1, signals=1),
)


def find_out(rules: Rules) -> Walk | None:
    """Return the first small walk that finds something wrong with these rules, by a shortest trace; None: nothing is."""
    for size in _REVEALING:
        walk = Checker(size, rules, is_symmetric=False).run()
        if walk.violation:
            return walk
    return None
