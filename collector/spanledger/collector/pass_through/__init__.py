"""Hand everything received on to another backend, unchanged, from the same journal, with its own mark and retries."""

from spanledger.collector.pass_through.deliver import Deliver, Later, Never
from spanledger.collector.pass_through.over_grpc import OverGrpc
from spanledger.collector.pass_through.over_http import OverHttp
from spanledger.collector.pass_through.pass_through import PassThrough

__all__ = ["Deliver", "Later", "Never", "OverGrpc", "OverHttp", "PassThrough"]
