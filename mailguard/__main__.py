"""``python -m mailguard`` and the ``mailguard`` command."""

from mailguard.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
