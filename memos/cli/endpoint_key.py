"""The key that the endpoint of the chosen model would get."""

from __future__ import annotations

from collections.abc import Mapping

from memos.config import Key, Places, Settings, find_key


def endpoint_key(settings: Settings, places: Places, environ: Mapping[str, str]) -> Key | None:
    """Return the key for the model of `settings` at its endpoint, None where there is none. Raises: BadInput."""
    from memos.llm.catalogue import key_variables, provider_of

    prefix = provider_of(settings.config.model)
    return find_key(settings, places, environ, provider=prefix, variables=key_variables(prefix))
