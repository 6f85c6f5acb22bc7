"""`python -m selftrack` is `track`."""

from selftrack.cli.track import main

if __name__ == "__main__":
    main()
