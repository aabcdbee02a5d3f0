"""Certificates as values: reading, writing, names, chains, keys, auto-selection. No files, network, git or clock."""
