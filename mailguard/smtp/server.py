"""The network side of the SMTP face (in the making); the interfaces it asks for are in ``smtp.story`` and ``smtp.events``."""

from mailguard.smtp.events import End, EndOfData, HeloGiven
from mailguard.smtp.story import ConnectionEnd, Peer, Story, StoryFactory

__all__ = ["ConnectionEnd", "End", "EndOfData", "HeloGiven", "Peer", "Story", "StoryFactory"]
