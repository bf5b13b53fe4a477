"""``python -m sipcli``."""

from sipcli.cli.main import main

if __name__ == "__main__":
    main()
