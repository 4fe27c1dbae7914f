"""The model that answers: chosen, its key there, its endpoint within reach, its window and what it can do."""

from __future__ import annotations

import asyncio
from pathlib import Path

from memos.cli.checks.finding import Finding, Findings, failure, ok, warning
from memos.cli.checks.subject import Subject
from memos.errors import BadInput, NotConfigured, ProcessorRefused
from memos.llm.capability_card import CapabilityCard, FormatName, origin, rows

_ASK_LIMIT_S = 5.0


def chosen(subject: Subject) -> Findings:
    """Look at which model is meant, and whether what it needs on this computer is there."""
    model, origin = subject.model, subject.settings.origins["model"]
    if not model:
        yield warning("model", "No model is chosen; builtin/tiny answers, a clerk.", "memos configure")
    elif model.startswith("gguf:"):
        path = Path(model.removeprefix("gguf:"))
        if not path.is_file():
            raise BadInput(f"There is no file {path}.", "memos configure, or mend the setting model")
        yield ok("model", f"{model} ({path.stat().st_size / 1e6:,.0f} MB, set by: {origin})")
    else:
        yield ok("model", f"{model}{_weights(subject)} (set by: {origin})")


def _weights(subject: Subject) -> str:
    from memos.llm.weights import BUILTIN, is_present

    builtin = BUILTIN.get(subject.model)
    if builtin is None:
        return ""
    present = is_present(subject.places.cache, builtin)
    return ", weights on disk" if present else f", {builtin.download_bytes / 1e6:,.0f} MB fetched at its first use"


def key(subject: Subject) -> Findings:
    """Look for the key of the model's endpoint; it is never shown."""
    from memos.llm.catalogue import key_variables, needs_key, provider_of

    found = subject.key()
    if found is not None:
        yield ok("key", f"{found.masked} from {found.origin}")
    elif needs_key(subject.model, subject.settings.config.api_base):
        variable = key_variables(provider_of(subject.model))[0]
        what = f"{subject.model} needs a key, and {variable} is not set."
        yield failure("key", NotConfigured(what, f"export {variable}=…, or memos configure"))
    else:
        yield ok("key", "none needed")


def endpoint(subject: Subject) -> Findings:
    """Ask the endpoint the user named for its models; nobody else, and nobody `offline`."""
    from memos.llm.catalogue import needs_key

    keyless = subject.key() is None and needs_key(subject.model, subject.settings.config.api_base)
    if subject.offline or keyless:
        yield ok("endpoint", f"not asked ({'no key' if keyless else '--offline'})")
        return
    try:
        names = _models(subject)
    except ProcessorRefused as error:
        if any(record.obeyed for record in subject.card().formats.values()):  # it has no list, and answers all the same
            yield warning("endpoint", error.what, error.next_step)
            return
        raise
    who = _server(subject) or subject.model.partition("/")[0]
    if names is None:
        yield ok("endpoint", f"{who} has no list of models to ask for; memos doctor --probe makes real calls")
    elif names and subject.model.startswith("koboldcpp/"):
        yield ok("endpoint", f"{who} answers, and has {names[0]}; koboldcpp takes any name for it")
    elif names and subject.model not in names and f"{subject.model}:latest" not in names:
        text = f"{who} answers, and lists {len(names):,} models, but not {subject.model}."
        yield warning("endpoint", text, "memos list models; memos doctor --probe tells whether it answers to that name")
    else:
        yield ok("endpoint", f"{who} answers, and lists {subject.model if names else 'nothing'}")


def _models(subject: Subject) -> list[str] | None:
    """Return what the endpoint lists; None where it cannot be asked. Raises: ProcessorError, BadInput."""
    from memos.llm.catalogue import provider, provider_of
    from memos.llm.discovery import list_endpoint_models, list_provider_models

    server, prefix, found = _server(subject), provider_of(subject.model), subject.key()
    value = found.value if found else None
    if server:
        return list_endpoint_models(server, prefix=prefix, key=value, timeout_s=_ASK_LIMIT_S)
    known = provider(prefix)
    if known is None or not known.models_url or value is None:
        return None
    return list_provider_models(known, value, timeout_s=_ASK_LIMIT_S)


def _server(subject: Subject) -> str:
    """Return the address of a server of the user's own: as set, as the environment says, or where its kind usually is.

    Empty where the model is at its provider's own address.
    """
    from memos.llm.catalogue import local_address, redirection

    return subject.settings.config.api_base or redirection(subject.model) or local_address(subject.model)


def window(subject: Subject) -> Findings:
    """Look for the size of the context window: what is set, and what the server or litellm's list says."""
    wanted, told = subject.settings.config.window_tokens, _told_window(subject)
    if wanted and told and wanted > told:
        text = f"window_tokens is set to {wanted:,}, and the model has {told:,}: prompts will be refused or cut."
        yield warning("window", text, f"memos configure --set window_tokens={told}")
    elif wanted or told:
        how = "as set" if wanted else "as the server says" if _server(subject) else "by litellm's list"
        yield ok("window", f"{wanted or told:,} tokens, {how}")
    else:
        text = "Nobody says how large the window is; 8,192 tokens are reckoned with."
        yield warning("window", text, "memos configure --set window_tokens=N")


def _told_window(subject: Subject) -> int | None:
    from memos.llm.catalogue import facts
    from memos.llm.server_window import window_of

    server = _server(subject)
    if not server:
        return facts(subject.model).window_tokens
    if subject.offline:
        return subject.card().window_tokens
    found = subject.key()
    return asyncio.run(window_of(subject.model, server, found.value if found else None))


def card(subject: Subject) -> Findings:
    """Look at what was measured of the model at its endpoint."""
    yield card_finding(subject.card())


def card_finding(card: CapabilityCard) -> Finding:
    """Return a capability card as one line."""
    if not card.seen_at and not card.formats:
        return ok("card", "nothing measured yet; real turns teach it, memos doctor --probe does so at once")
    seen = "; ".join(f"{name}: {words}" for name, words in rows(card) if words not in ("?", "not said"))
    text = f"{seen} ({origin(card)})"
    if card.best() is FormatName.PLAIN:
        return warning("card", f"It obeys no call format, so its agent cannot keep anything: {text}", "memos configure")
    return ok("card", text)
