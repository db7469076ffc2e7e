"""One connection told as a story, with what it asks on the way."""

from mailguard.session.services import Services
from mailguard.session.story import Session

__all__ = ["Services", "Session"]
