"""From options to the language models: pure construction, nothing is opened or read here.

`app` maps the settings to `LlmOptions`. The order of a chain is the order in which it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from rkyc.providers.llm.claude import ClaudeOptions, ClaudeProvider
from rkyc.providers.llm.openai import OpenAIOptions, OpenAIProvider
from rkyc.providers.llm.router import LLM_TIMEOUT_S_DEFAULT, Llm
from rkyc.providers.llm.types import Admission, LlmProvider

VendorOptions = ClaudeOptions | OpenAIOptions


@dataclass(frozen=True, slots=True)
class LlmOptions:
    """What each track asks, in order; an empty track is not available."""

    external: tuple[VendorOptions, ...] = ()
    internal: tuple[VendorOptions, ...] = ()
    timeout_s: float = LLM_TIMEOUT_S_DEFAULT


def build_llm(options: LlmOptions, admission: Admission | None = None) -> Llm:
    """Build the two tracks."""
    return Llm(
        external=[_provider(vendor) for vendor in options.external],
        internal=[_provider(vendor) for vendor in options.internal],
        timeout_s=options.timeout_s,
        admission=admission,
    )


def internal_options(
    *, base_url: str, model: str, api_key: str | None = None, connect_timeout_s: float = 10.0
) -> OpenAIOptions:
    """Describe an OpenAI-compatible server in the house."""
    return OpenAIOptions(
        api_key=api_key,
        base_url=base_url,
        model=model,
        name="internal",
        compatible=True,
        connect_timeout_s=connect_timeout_s,
    )


def _provider(options: VendorOptions) -> LlmProvider:
    match options:
        case ClaudeOptions():
            return ClaudeProvider(options)
        case OpenAIOptions():
            return OpenAIProvider(options)
