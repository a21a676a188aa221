"""Builds the language model's prompt."""

from __future__ import annotations

from reference_service.models import ChatTurn


def messages(turn: ChatTurn) -> list[dict[str, str]]:
    """Return the messages: who speaks, what is known, what was said, what is asked."""
    preferences = turn.preferences
    lines = [
        turn.personality.system_prompt,
        f"Answer in {preferences.language}, {preferences.tone}, {preferences.reply_length}.",
        f"The user sounds {turn.emotion.label}.",
    ]
    if turn.memories:
        lines.append("You remember: " + "; ".join(memory.content for memory in turn.memories))
    told = [{"role": "system", "content": "\n".join(lines)}]
    for past in turn.history:
        told.append({"role": "user", "content": past.user_message})
        told.append({"role": "assistant", "content": past.reply})
    told.append({"role": "user", "content": turn.message})
    return told
