"""Callers catch by the documented names and by the branch."""

import copy
import pickle

import pytest

from paradrop.base import exceptions
from paradrop.base.exceptions import ParadropException, PdServerException, ServiceNotFound


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("AuthenticationError", PdServerException),
        ("InvalidCredentials", PdServerException),
        ("PdidError", PdServerException),
        ("PdidExclusionError", PdServerException),
        ("ModelNotFound", PdServerException),
        ("ChuteNotFound", ParadropException),
        ("ChuteNotRunning", ParadropException),
        ("DeviceNotFoundException", ParadropException),
        ("ServiceNotFound", ParadropException),
        ("SettingsError", ParadropException),
        ("PdServerException", Exception),
        ("ParadropException", Exception),
        ("InternalException", Exception),
        ("InteralException", Exception),
    ],
)
def test_an_exception_is_caught_by_its_branch(name: str, base: type[Exception]) -> None:
    error = getattr(exceptions, name)("text")
    with pytest.raises(base, match="text"):
        raise error


def test_the_branches_are_apart() -> None:
    assert not issubclass(ParadropException, PdServerException)
    assert not issubclass(PdServerException, ParadropException)


def test_the_documented_spelling_is_the_same_class() -> None:
    with pytest.raises(exceptions.InteralException):
        raise exceptions.InternalException("text")
    with pytest.raises(exceptions.InternalException):
        raise exceptions.InteralException("text")


def test_a_missing_service_is_named_also_in_a_copy() -> None:
    error = ServiceNotFound("web")
    assert str(error) == "Service (web) not found"
    assert error.name == "web"
    assert str(copy.copy(error)) == str(pickle.loads(pickle.dumps(error))) == str(error)
