"""`python -m mmbal` and the `mmbal` command."""

from mmbal.cli.app import main

if __name__ == "__main__":
    main()
