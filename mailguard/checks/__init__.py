"""Questions about the connecting client and the envelope; each answer is known or unknown, and never a guess."""
