"""`memos bench`: how well a model keeps, corrects and finds what invented people tell it.

people   a seeded generator of people, facts and phrasings (`data/*.tsv`); none of its sentences stands in a prompt
judge    what counts as saved, recalled, corrected, unknown and greeted; by words alone, without an LLM
agent    `memos bench agent`: every person talks to an agent of their own, through the real kernel
report   what is printed: a table, JSON, and how far it is
"""
