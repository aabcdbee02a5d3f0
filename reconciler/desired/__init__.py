"""What administrators committed: files, YAML with positions, models, committed material; and writing it."""
