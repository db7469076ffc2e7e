"""``python -m mailguard`` and the ``mailguard`` command. Exit status 130 where Ctrl-C came before a command began."""

import sys

from mailguard.lasting import lasting

INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        with lasting():  # here: it takes a moment, in which Ctrl-C shall be no traceback
            from mailguard.cli import app, import_command

            import_command(sys.argv[1:])
        app(prog_name="mailguard")  # also as `python -m mailguard`: completion knows it by this name
    except KeyboardInterrupt:
        print("\nmailguard: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
