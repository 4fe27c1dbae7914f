"""What is kept and found again: working context, recall and archival storage, search over both, embedders.

Source: Packer et al. 2023, §2.1-2.2.
"""
