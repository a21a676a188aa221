"""What the commands share to talk with a user: options, progress, tables, answers."""
