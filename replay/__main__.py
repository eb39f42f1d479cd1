"""Let `python -m replay` do what `replay` does."""

from replay.cli import main

if __name__ == "__main__":
    main()
