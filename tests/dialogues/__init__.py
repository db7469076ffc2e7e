"""SMTP dialogues as text files, played against the SMTP face alone and against the whole of mailguard."""
