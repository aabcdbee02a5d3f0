"""What every room shares: errors, findings and their rules, positions, durations, references to secrets."""
