"""The parent of all processes of the service: it binds the sockets, starts, replaces and stops workers."""
