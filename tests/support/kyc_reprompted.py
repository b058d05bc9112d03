"""The pipeline `kyc` as it is after somebody changed the words of a prompt: the insight's, or the extractors'."""

from __future__ import annotations

from rkyc.flow.graph import Chain
from rkyc.flow.pipeline import Pipeline, Registry
from rkyc.flow.step import Step
from rkyc.pipelines.kyc import kyc
from rkyc.steps.kyc import insight, prompts

_build_system = insight._build_system


def _prefer_recent(lang: str) -> str:
    return _build_system(lang) + "\n- Tell what is recent first."  # type: ignore[arg-type]


insight._build_system = _prefer_recent


def _with_fingerprint(name: str, fingerprint: tuple[str, ...]) -> Registry:
    assert isinstance(kyc.steps, Chain)
    parts = [part for part in kyc.steps.parts if isinstance(part, Step)]
    changed = [part.with_policy(fingerprint=fingerprint) if part.name == name else part for part in parts]
    return Registry([Pipeline("kyc", kyc.version, Chain(tuple(changed)))])


of_insight = _with_fingerprint("insight", insight.identify_prompts())
of_signal = _with_fingerprint("signal", tuple(f"{one}-changed" for one in prompts.identify_prompts()))
