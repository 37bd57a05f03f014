"""What may stand on a client's request layer before ours does, and what is put in and taken out."""

import functools
from types import ModuleType
from typing import Any

import pytest

from spanledger.instrumentation import patching
from spanledger.instrumentation.provider import RequestLayer

LAYER = RequestLayer(module="client", owner="Base", method="request", style="sync")


@pytest.fixture
def module() -> ModuleType:
    class Base:
        def request(self, what: str) -> str:
            return f"{type(self).__name__} asks {what}"

    class Client(Base):
        pass

    made = ModuleType("client")
    made.__dict__.update(Base=Base, Client=Client)
    return made


def _wrap(seen: list[Any]) -> patching.Wrap:
    def wrap(original: Any) -> Any:
        def ours(client: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append((type(client).__name__, *args))
            return original(client, *args, **kwargs)

        return ours

    return wrap


def test_a_wrapper_on_a_class_below_that_was_there_first_does_not_hide_ours(module: Any) -> None:
    theirs_seen: list[Any] = []
    own = module.Base.request

    @functools.wraps(own)
    def theirs(self: Any, what: str) -> str:
        theirs_seen.append(what)
        return str(own(self, what))

    module.Client.request = theirs
    seen: list[Any] = []
    for _ in range(2):
        patching.replace(module, LAYER, _wrap(seen))
    assert module.Client().request("x") == "Client asks x"
    assert module.Base().request("y") == "Base asks y"
    assert seen == [("Client", "x"), ("Base", "y")]
    assert theirs_seen == ["x"]
    patching.restore(module, LAYER)
    assert vars(module.Client)["request"] is theirs
    assert vars(module.Base)["request"] is own


def test_a_bare_method_that_another_left_behind_does_not_hide_ours(module: Any) -> None:
    module.Client.request = module.Base.request
    seen: list[Any] = []
    patching.replace(module, LAYER, _wrap(seen))
    module.Client().request("x")
    assert seen == [("Client", "x")]


def test_a_method_that_a_class_has_of_its_own_is_left_alone(module: Any) -> None:
    base = module.Base

    def request(self: Any, what: str) -> str:
        return str(base.request(self, what + "!"))

    module.Client.request = request
    seen: list[Any] = []
    patching.replace(module, LAYER, _wrap(seen))
    assert module.Client().request("x") == "Client asks x!"
    assert seen == [("Client", "x!")]


def test_one_that_wrapped_ours_from_a_class_below_is_not_wrapped_again(module: Any) -> None:
    seen: list[Any] = []
    patching.replace(module, LAYER, _wrap(seen))
    ours = module.Base.request
    module.Client.request = functools.wraps(ours)(lambda self, what: ours(self, what))
    patching.replace(module, LAYER, _wrap(seen))
    module.Client().request("x")
    assert seen == [("Client", "x")]


@pytest.mark.parametrize("place", ["Base", "Client"])
def test_a_wrapper_of_wrapt_gets_the_object_that_it_is_called_on(module: Any, place: str) -> None:
    wrapt = pytest.importorskip("wrapt")
    instances: list[Any] = []

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        instances.append(type(instance).__name__)
        return wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper(module, f"{place}.request", theirs)
    seen: list[Any] = []
    patching.replace(module, LAYER, _wrap(seen))
    assert module.Client().request("x") == "Client asks x"
    assert seen == [("Client", "x")]
    assert instances == ["Client"]
