"""Whether the load itself was fit: its own checks, and what it says at the end."""
