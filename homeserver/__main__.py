"""`python -m homeserver`: the command line.

The same as the `homeserver` script that installing the package makes.
"""

from homeserver.cli import main

main(prog_name="homeserver")
