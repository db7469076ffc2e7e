"""The processes that the supervisor starts, one module each; ``__main__`` begins them."""
