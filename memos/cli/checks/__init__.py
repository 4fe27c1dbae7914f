"""What `memos doctor` looks at, one file a part of memos."""
