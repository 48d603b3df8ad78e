"""`python -m bufaudit`."""

from bufaudit.cli import main

if __name__ == "__main__":
    main()
