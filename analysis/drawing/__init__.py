"""How figures look: colours, dots, labels, titles; each figure stands with its question."""
