"""Several parts as one: up in order, down in reverse, and whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True, kw_only=True)
class Assembly(ABC):
    """What enters its parts into `_stack`; `async with` keeps them up."""

    _stack: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)

    @abstractmethod
    async def _assemble(self) -> None:
        """Enter every part; if one fails, those before it are taken down."""

    async def __aenter__(self) -> Self:
        try:
            await self._assemble()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
