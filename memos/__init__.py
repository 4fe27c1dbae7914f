"""memos: a memory operating system for LLMs, as a terminal chat.

Rooms, in the direction of their imports:
cli        the commands; `cli/boot.py` is the only place that wires objects
terminal   everything a person sees or types
kernel     decides what happens next: the cycle, main context, queue manager, executor
memory     what is kept: working context, recall, archival, search, embedders
llm        the processor: call formats, streaming decoder, the models themselves
functions  the system-call table: signature and docstring become a schema
storage    SQLite and LanceDB opened safely: one writer, migrations, locks
messages, errors, safe_text, redaction   the data that flows, what can go wrong, text that may meet a terminal, secrets
config     settings, places and keys, read only by cli and the wizard
prompts, help                 words for the LLM, and for the user (`memos help`)
"""

__version__ = "0.1.0"
