"""`python -m spanledger.cli.provider_stand_in`: a stand-in as a process; prints its address, ends when its input does."""

import sys

from spanledger.cli.provider_stand_in import start

with start() as stand_in:
    sys.stdout.write(stand_in.url + "\n")
    sys.stdout.flush()
    sys.stdin.read()
