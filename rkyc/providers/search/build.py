"""From options to the search: pure construction."""

from __future__ import annotations

from dataclasses import dataclass

from rkyc.providers.search.perplexity import PerplexityOptions, PerplexitySearch
from rkyc.providers.search.router import SEARCH_TIMEOUT_S_DEFAULT, Search


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Without `perplexity` the search is not available: a dossier's recorded events stand in."""

    perplexity: PerplexityOptions | None = None
    timeout_s: float = SEARCH_TIMEOUT_S_DEFAULT


def build_search(options: SearchOptions) -> Search:
    """Build the chain."""
    providers = [PerplexitySearch(options.perplexity)] if options.perplexity is not None else []
    return Search(providers, timeout_s=options.timeout_s)
