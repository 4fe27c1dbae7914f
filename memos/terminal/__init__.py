"""Everything a person sees or types: the REPL, its slash commands, the painter, and the one-shot mode."""
