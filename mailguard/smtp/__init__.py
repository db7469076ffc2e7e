"""The SMTP face: the conversation with a client, pure, and its adapter to the network. It knows nothing of session or policy."""
