"""Which SpamAssassin rules may look at Received evidence: derived from the rule files, never guessed. Pure."""
