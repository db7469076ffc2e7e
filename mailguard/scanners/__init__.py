"""Questions about the message: clamd and spamd. An answer is known or unknown; nothing here ever guesses "clean"."""
