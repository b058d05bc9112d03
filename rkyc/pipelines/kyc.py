"""The built-in pipeline `kyc`: a company's figures, papers and news become cited risk signals.

The steps, in the order of the bank's own process; their names, task names and shares of the progress
bar are a promise. Limits are about twice the expected maximum. Provider errors are tried again up
to three times; whatever a step can do without (a document that can't be read, a search that is
down) it reports as a warning instead of failing.
"""

from __future__ import annotations

from rkyc.flow.graph import chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.retry import RetryPolicy, Timeouts
from rkyc.flow.step import CarryFunction, SaveFunction, Step, StepFunction, step
from rkyc.providers.embedding.embedder import Embedder
from rkyc.providers.llm.router import Llm
from rkyc.providers.search.router import Search
from rkyc.steps.kyc import (
    context,
    doc_ingest,
    external,
    index,
    insight,
    prompts,
    signal,
    snapshot,
    validation,
)
from rkyc.store.kyc import carries
from rkyc.store.pool import Pool

# One first try and three retries, 1, 2, 4 s apart at most, never above 300 s.
_RETRY = RetryPolicy(max_attempts=4, initial_s=1.0, base=2.0, max_s=300.0)


def _place(
    name: str,
    task: str,
    run: StepFunction,
    *,
    limit_s: float,
    share: float,
    needs: tuple[type, ...] = (),
    limits: tuple[str, ...] = (),
    save: SaveFunction | None = None,
    carry: CarryFunction | None = None,
    fingerprint: tuple[str, ...] = (),
) -> Step:
    make = step(
        name=name,
        task_name=task,
        retry=_RETRY,
        timeouts=Timeouts(start_to_close=limit_s),
        share=share,
        needs=(Pool, *needs),
        limits=limits,
        save=save,
        carry=carry,
        fingerprint=fingerprint,
    )
    return make(run)


kyc = Pipeline(
    "kyc",
    version=1,
    title="corporate risk analysis",
    steps=chain(
        _place(
            "snapshot",
            "collect_snapshot",
            snapshot.run,
            limit_s=20,
            share=10,
            save=snapshot.save,
            carry=carries.carry_analysis,
        ),
        # Two seconds a page for the largest dossier that is taken.
        _place(
            "doc_ingest",
            "ingest_documents",
            doc_ingest.run,
            limit_s=600,
            share=20,
            save=doc_ingest.save,
            carry=carries.carry_documents,
        ),
        _place(
            "external",
            "search_external",
            external.run,
            limit_s=120,
            share=10,
            needs=(Search,),
            limits=("search",),
            save=external.save,
            carry=carries.carry_events,
        ),
        _place(
            "context",
            "fetch_context",
            context.run,
            limit_s=20,
            share=10,
            needs=(Embedder,),
            save=context.save,
            carry=carries.carry_context,
        ),
        _place(
            "signal",
            "extract_signals",
            signal.run,
            limit_s=300,
            share=20,
            needs=(Llm,),
            limits=("llm",),
            fingerprint=prompts.identify_prompts(),
        ),
        _place("validation", "validate_signals", validation.run, limit_s=60, share=10, needs=(Llm, Embedder)),
        _place(
            "index",
            "index_vectors",
            index.run,
            limit_s=60,
            share=15,
            needs=(Embedder,),
            save=index.save,
            carry=carries.carry_signals,
        ),
        _place(
            "insight",
            "generate_insight",
            insight.run,
            limit_s=120,
            share=5,
            needs=(Llm,),
            limits=("llm",),
            save=insight.save,
            fingerprint=insight.identify_prompts(),
        ),
    ),
)

registry = Registry([kyc])
