"""Decides what happens next: the cycle, main context, queue manager, executor.

Read in this order: `kernel.py` (the cycle), `queue_manager.py`, `main_context.py`, `processor_line.py`, `executor.py`,
`control.py`.
"""
