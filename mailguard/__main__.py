"""``python -m mailguard`` and the ``mailguard`` command. Exit status 130 where Ctrl-C came before a command began."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from mailguard.cli import app  # here: it takes a moment, in which Ctrl-C shall be no traceback

        app(prog_name="mailguard")  # also as `python -m mailguard`: completion knows it by this name
    except KeyboardInterrupt:
        print("\nmailguard: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
