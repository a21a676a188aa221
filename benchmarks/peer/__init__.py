"""The plain peer: the stages of `POST /chat` as a user would write them today, nothing tuned."""
