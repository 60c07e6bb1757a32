"""Following people from frame to frame, and what their faces tell over time."""

from cascade.tracking.tracker import Track, Tracker
from cascade.tracking.votes import AttributeVotes, IdentityVotes, quality

__all__ = ["AttributeVotes", "IdentityVotes", "Track", "Tracker", "quality"]
