"""The SMTP face: the conversation with a client, pure, and its adapter to the network; knows no session, no policy."""
