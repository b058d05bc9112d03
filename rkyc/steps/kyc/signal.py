"""Step 5: drafts of risk signals, from rules always, from models where there are some.

The rules read the snapshot, the papers and the events. Three extractors (company, industry,
environment) ask models side by side: PUBLIC parts go to the track that may see them, INTERNAL parts to
the internal track or to none. An extractor without an answer leaves the run partial; the rules stand.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from rkyc.errors import SnapshotInvalidError, WorkerBaseException
from rkyc.flow.context import StepContext
from rkyc.providers.llm.router import Llm
from rkyc.providers.llm.types import DataClass, LlmAnswer, LlmRequest, Track
from rkyc.steps.kyc.events.industries import industry_words
from rkyc.steps.kyc.events.names import strip_legal_form
from rkyc.steps.kyc.material import Material, read_material
from rkyc.steps.kyc.packing import Part
from rkyc.steps.kyc.parallel import run_side_by_side
from rkyc.steps.kyc.prompts import AGENTS, Agent, AgentAnswer, ProposedSignal, build_prompt, build_system
from rkyc.steps.kyc.rules.documents import evaluate_documents
from rkyc.steps.kyc.rules.evaluate import evaluate
from rkyc.steps.kyc.rules.events import evaluate_events
from rkyc.steps.kyc.schemas import (
    ContextOut,
    EvidenceRef,
    KycInput,
    Lang,
    RiskSignalDraft,
    SignalOut,
    SnapshotOut,
)
from rkyc.steps.kyc.vocabulary import EvidenceType, RefType, SignalType
from rkyc.store.kyc import context_packs, snapshots
from rkyc.store.pool import Pool

_RULES = "rules"
_ANSWER_TOKENS_MAX = 4000
# A model that fails is asked again with the step; the last time the step goes on without it.
_ATTEMPTS_MAX = 3
_EVIDENCE_TYPES = {
    RefType.SNAPSHOT_KEYPATH: EvidenceType.INTERNAL_FIELD,
    RefType.DOC_PAGE: EvidenceType.DOC,
    RefType.URL: EvidenceType.EXTERNAL,
}


@dataclass(frozen=True, slots=True)
class _Question:
    """One call: an extractor, the track that may see its parts, and the parts."""

    agent: Agent
    track: Track
    data_class: DataClass
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        return f"llm:{self.agent.name}:{self.track.lower()}"


@dataclass(frozen=True, slots=True)
class _Outcome:
    question: _Question
    drafts: tuple[RiskSignalDraft, ...] = ()
    model: str | None = None
    error: WorkerBaseException | None = None


async def run(ctx: StepContext, input: ContextOut, job: KycInput, snapshot: SnapshotOut) -> SignalOut:
    """Draft risk signals; nothing is checked here, validation does that."""
    async with ctx.use(Pool).connection() as conn:
        material = await read_material(conn, ctx.job_id, job.corp)
        doc, previous = None, None
        version = await snapshots.read_version(conn, snapshot.corp_id, snapshot.snapshot_version)
        doc = version.doc if version is not None else None
        if snapshot.previous_version is not None:
            earlier = await snapshots.read_version(conn, snapshot.corp_id, snapshot.previous_version)
            previous = earlier.doc if earlier is not None else None
        stored = await context_packs.read_context_parts(conn, ctx.job_id, input.sha256)
    if doc is None:
        raise SnapshotInvalidError(
            f"snapshot {snapshot.snapshot_version} of corp {snapshot.corp_id} is not stored"
        )
    drafts = await anyio.to_thread.run_sync(
        functools.partial(_apply_rules, doc, previous, snapshot, material, job.lang)
    )
    ctx.progress(0.3)
    questions = _plan(ctx.use(Llm), [Part(**part) for part in stored or ()])
    outcomes = await run_side_by_side(
        [functools.partial(_ask, ctx, job, question) for question in questions], limit=max(1, len(questions))
    )
    failed = _judge_failures(ctx, outcomes)
    proposed = [draft for outcome in outcomes for draft in outcome.drafts]
    return SignalOut(
        drafts=[*drafts, *proposed],
        by_source=dict(Counter(draft.source for draft in (*drafts, *proposed))),
        failed_agents=failed,
        provider="+".join([_RULES, *sorted({outcome.model for outcome in outcomes if outcome.model})]),
    )


def _apply_rules(
    doc: dict[str, object],
    previous: dict[str, object] | None,
    snapshot: SnapshotOut,
    material: Material,
    lang: Lang,
) -> list[RiskSignalDraft]:
    return [
        *evaluate(doc, previous, snapshot.as_of, lang),
        *evaluate_documents(material.pages, material.company, lang),
        *evaluate_events(material.events, material.company, lang),
    ]


def _plan(llm: Llm, parts: Sequence[Part]) -> list[_Question]:
    """Decide who is asked what: no INTERNAL part is ever in a question to the external track."""
    public = tuple(part for part in parts if part.data_class == DataClass.PUBLIC)
    internal = tuple(part for part in parts if part.data_class != DataClass.PUBLIC)
    questions: list[_Question] = []
    for agent in AGENTS:
        mine = [tuple(part for part in group if _concerns(agent, part)) for group in (public, internal)]
        outside = llm.track_for(DataClass.PUBLIC)
        if outside is Track.INTERNAL or not mine[0]:
            groups = [(Track.INTERNAL, (*mine[1], *mine[0]))]
        else:
            groups = [(outside, mine[0]), (Track.INTERNAL, mine[1])]
        for track, chosen in groups:
            if chosen and llm.available(track):
                questions.append(_Question(agent, track, _class_of(chosen), chosen))
    return questions


def _concerns(agent: Agent, part: Part) -> bool:
    """The company's extractor sees all but the industry's news; the others see those and the filings."""
    if agent.signal_type is SignalType.DIRECT:
        return not part.wider
    return part.wider


def _class_of(parts: Sequence[Part]) -> DataClass:
    if all(part.data_class == DataClass.PUBLIC for part in parts):
        return DataClass.PUBLIC
    return DataClass.INTERNAL


async def _ask(ctx: StepContext, job: KycInput, question: _Question) -> _Outcome:
    llm = ctx.use(Llm)
    request = LlmRequest(
        operation=f"kyc.signal.{question.agent.name}",
        system=build_system(question.agent, job.lang),
        prompt=build_prompt(
            strip_legal_form(job.corp.name), industry_words(job.corp.industry_code, job.lang), question.parts
        ),
        data_class=question.data_class,
        max_tokens=_ANSWER_TOKENS_MAX,
    )

    async def ask(asked: LlmRequest) -> LlmAnswer:
        async def fetch() -> LlmAnswer:
            return await llm.complete(asked, track=question.track)

        return await ctx.call(question.name, fetch, returns=LlmAnswer)

    try:
        answer, given = await llm.complete_json(request, AgentAnswer, track=question.track, ask=ask)
    except WorkerBaseException as error:
        # The others finish first: their answers are remembered, whatever becomes of this one.
        return _Outcome(question, error=error)
    known = {part.ref: RefType(part.ref_type) for part in question.parts if part.ref_type != "CASE"}
    drafts = tuple(_draft(question.agent, signal, known) for signal in answer.signals)
    return _Outcome(question, drafts, f"{given.provider}/{given.model}")


def _draft(agent: Agent, signal: ProposedSignal, known: dict[str, RefType]) -> RiskSignalDraft:
    evidence = []
    for cited in signal.evidence:
        # A ref that was not given is kept as it is: validation finds no such source and says so.
        ref_type = (
            RefType.SNAPSHOT_KEYPATH if cited.ref.startswith("/") else known.get(cited.ref, RefType.URL)
        )
        evidence.append(
            EvidenceRef(
                evidence_type=_EVIDENCE_TYPES[ref_type], ref_type=ref_type, ref=cited.ref, quote=cited.quote
            )
        )
    return RiskSignalDraft(
        **signal.model_dump(exclude={"evidence"}),
        signal_type=agent.signal_type,
        evidence=evidence,
        source=agent.name,
        prompt_id=agent.prompt_id,
    )


def _judge_failures(ctx: StepContext, outcomes: Sequence[_Outcome]) -> list[str]:
    """Name the extractors without an answer, or raise so that the step is tried again."""
    failed: list[str] = []
    for outcome in outcomes:
        error = outcome.error
        if error is None:
            continue
        if error.retryable and ctx.attempt < _ATTEMPTS_MAX:
            raise error
        agent = outcome.question.agent.name
        ctx.warn(error.error_code, f"the {agent} extractor gave no answer: {error.message}", subject=agent)
        if agent not in failed:
            failed.append(agent)
    return failed
