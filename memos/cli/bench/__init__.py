"""`memos bench`: how well a model keeps what invented people tell it and follows nested keys, and what search finds.

people     a seeded generator of people, facts and phrasings (`data/*.tsv`); none of its sentences stands in a prompt
judge      what counts as saved, recalled, corrected, unknown and greeted; by words alone, without an LLM
agent      `memos bench agent`: every person talks to an agent of their own, through the real kernel
key_values a seeded generator of nested keys and values, and what counts as solved
nested_kv  `memos bench nested-kv`: every task has an agent of its own, through the real kernel
questions  conversations, and questions whose answers are known, read from two files
retrieval  `memos bench retrieval`: each conversation has an agent of its own, whose search is asked; no model
locomo     `memos bench locomo2jsonl`: a published data set in that form
measuring  what all do around a run: which model, homes of their own, how a run ends early
report     what is printed: a table, JSON, and how far it is
"""
