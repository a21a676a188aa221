"""What the commands share to talk with a person: options, progress, tables, answers."""
