"""The system-call table: a decorated method is a function the LLM may call."""
