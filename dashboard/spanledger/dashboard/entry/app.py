"""What Streamlit runs for every visitor and every change. It stands in a folder of its own, which Streamlit puts on the path."""

import argparse
import sys
from pathlib import Path

from spanledger.dashboard.show import show

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--api", default="")
asked = parser.parse_args(sys.argv[1:])
show(asked.data, asked.api)
